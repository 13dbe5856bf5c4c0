/**
 * Counts the blocks of our code that run, by V8's coverage, which does not depend on the machine's load.
 * Modules must be loaded after the count has begun.
 */
import { Session, type Profiler } from 'node:inspector'

export interface StepCount {
  /** Returns the number of blocks in `src` that have run since the last call. */
  take(): number
  stop(): void
}

export function countSteps(): StepCount {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  return {
    take() {
      let taken: Profiler.ScriptCoverage[] = []
      session.post('Profiler.takePreciseCoverage', (_error, { result }) => {
        taken = result
      })
      return taken
        .filter(({ url }) => url.includes('/src/') && !url.includes('node_modules'))
        .flatMap(({ functions }) => functions)
        .flatMap(({ ranges }) => ranges)
        .reduce((sum, { count }) => sum + count, 0)
    },
    stop() {
      session.post('Profiler.disable')
      session.disconnect()
    },
  }
}
