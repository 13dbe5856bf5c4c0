/** Checks the property of all histories, reproducible by their seed. */
// The first one, so that the plugin starts no real process.
import { PlayedProcesses } from '../../harness/played-processes.ts'
import fc from 'fast-check'
import { wrongIn } from './aftermath.ts'
import { Play, type Where } from './play.ts'
import { history, type History, type Step } from './steps.ts'

const BEGINNING: readonly Step[] = [
  { type: 'launch', parent: 0, model: undefined },
  { type: 'launch', parent: 0, model: undefined },
  { type: 'launch', parent: 1, model: undefined },
  { type: 'wait', ms: 60 },
]

export type HistoriesResult = fc.RunDetails<[History]>

/** Plays `numRuns` histories of this seed, and shrinks the first failing one. */
export async function playHistories(
  seed: number,
  numRuns: number,
  where: Where = 'inside',
): Promise<HistoriesResult> {
  const { random } = Math
  // Fixes the jitter of the provider backoff, so that a seed reproduces its histories.
  Math.random = () => 0.5
  try {
    return await fc.check(
      fc.asyncProperty(history, async (next) => {
        const wrong = await wrongAfter(next, where)
        if (wrong.length > 0) throw new Error(wrong.join('\n'))
      }),
      { seed, numRuns },
    )
  } finally {
    Math.random = random
  }
}

/** Plays one history to its end, and returns the findings. Each is a sentence; there should be none. */
export async function wrongAfter(next: History, where: Where = 'inside'): Promise<string[]> {
  const play = new Play(next, where, (now) => new PlayedProcesses(now))
  try {
    await play.begin()
    for (const step of [...BEGINNING, ...next.steps]) await play.take(step)
    return await wrongIn(play)
  } finally {
    play.close()
  }
}

/** Returns the seed, the findings and the shrunk history of a failure, ready to become a fixed case. */
export function describeFailure({
  seed,
  counterexamplePath,
  counterexample,
  errorInstance,
}: HistoriesResult): string {
  const findings = errorInstance instanceof Error ? errorInstance.message : String(errorInstance)
  const [shrunk] = counterexample ?? []
  return [
    `seed ${seed}, path ${counterexamplePath}`,
    ...findings.split('\n').map((line) => `  ${line}`),
    JSON.stringify(shrunk),
  ].join('\n')
}
