/** Runs a worker until it is drained, or another process of the same worker has begun. */
import { randomUUID } from 'node:crypto'
import { systemClock, type Clock } from '../../clock.ts'
import type { Log } from '../../host/log.ts'
import { PROTOCOL, type Claims } from '../port.ts'
import { Worker, type WorkerEnd } from '../worker-loop.ts'
import type { WorkerSettings } from './command-line.ts'
import { JobRunner } from './job-runner.ts'
import { takeName } from './worker-identity.ts'

/**
 * Resolves with how the worker has ended. Rejects with a `UsageError` that says what to do, if it cannot begin.
 *
 * @param drain aborted to take no more jobs
 */
export async function runWorker(
  settings: WorkerSettings,
  claims: Claims,
  log: Log,
  drain: AbortSignal,
): Promise<WorkerEnd> {
  const { drainTimeoutMs, labels, name, slots } = settings
  const identity = takeName(settings)
  const runner = await JobRunner.connect(settings, log)
  const worker = new Worker(
    // Its timers keep the process alive while the queue is away.
    { claims, runner, clock: waitingClock, log },
    {
      name,
      identity,
      process: randomUUID(),
      protocol: PROTOCOL,
      labels: [...labels, ...runner.projects],
      slots,
    },
    { drainTimeoutMs },
  )
  const begin = (): void => worker.drain()
  if (drain.aborted) begin()
  drain.addEventListener('abort', begin)
  try {
    return await worker.ended
  } finally {
    // The agents that have not ended work on: the next process of this worker goes on with them.
    await runner.detach()
  }
}

const waitingClock: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs, callback, { keepsAlive: true }),
}
