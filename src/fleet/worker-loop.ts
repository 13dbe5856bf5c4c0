/**
 * A worker of a fleet: claims jobs into its slots, and ends when it is told to.
 *
 *   resuming ──nothing more to resume──→ claiming ──drain──→ draining ──all over, or time is up──→ ended
 *       └──────────────────────────────────┴──── replaced ────┴──→ ended
 *
 * A process first resumes the jobs of an earlier one, and stops the agents of jobs that it did not get: their ends were reported.
 */
import type { Clock } from '../clock.ts'
import { errorText } from '../host/opencode.ts'
import { callWithin } from './call-within.ts'
import type { Claim, ClaimAnswer, Claims, WorkerProcess } from './port.ts'
import type { Runner, RunningJob } from './running-job.ts'
import { WorkerJob } from './worker-job.ts'

export interface WorkerPorts {
  readonly claims: Claims
  readonly clock: Clock
  readonly runner: Runner
  readonly log: { warn(message: string): void }
}

export interface WorkerOptions {
  /** How long agents may work on once the worker drains. */
  readonly drainTimeoutMs: number
}

/** Why a worker has ended. */
export type WorkerEnd =
  | { readonly type: 'drained' }
  /** Agents work on without this process: the next one of this worker resumes them. */
  | { readonly type: 'detached'; readonly jobs: readonly string[] }
  | { readonly type: 'replaced' }

const POLL_MS = 5000
/** The shortest pause between requests, because offers come in bursts and wake all workers. */
const LEAST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
const CALL_MS = 10_000

export class Worker {
  /** Resolves when this process holds no job any more. */
  readonly ended: Promise<WorkerEnd>
  readonly #ports: WorkerPorts
  readonly #process: WorkerProcess
  readonly #options: WorkerOptions
  #phase: 'resuming' | 'claiming' | 'draining' | 'ended' = 'resuming'
  readonly #jobs = new Set<WorkerJob>()
  #requests = 0
  #failures = 0
  #wake = (): void => {}
  #refusal: string | undefined
  readonly #loop: Promise<void>
  readonly #watching = new AbortController()
  #resolve!: (end: WorkerEnd) => void

  constructor(ports: WorkerPorts, process: WorkerProcess, options: WorkerOptions) {
    this.#ports = ports
    this.#process = process
    this.#options = options
    this.ended = new Promise((resolve) => (this.#resolve = resolve))
    ports.claims.watch((change) => {
      if (change.type === 'offered') this.#wake()
      else for (const job of this.#jobs) if (job.claim.job === change.job) job.beatNow()
    }, this.#watching.signal)
    this.#loop = this.#run()
  }

  /** The jobs that it has claimed. */
  get jobs(): readonly WorkerJob[] {
    return [...this.#jobs]
  }

  /** Takes no more jobs, gives back what was not prompted, and ends when its agents have, or `drainTimeoutMs` later. */
  drain(): void {
    if (this.#phase === 'draining' || this.#phase === 'ended') return
    this.#phase = 'draining'
    this.#wake()
    for (const job of this.#jobs) job.release()
    const cancel = this.#ports.clock.after(this.#options.drainTimeoutMs, () => {
      const left = [...this.#jobs].map(({ claim }) => claim.offer.id)
      for (const job of this.#jobs) job.detach()
      this.#end({ type: 'detached', jobs: left })
    })
    void this.#endOnceOver(cancel)
  }

  async #endOnceOver(cancelTimeout: () => void): Promise<void> {
    await this.#loop
    await Promise.all([...this.#jobs].map(({ over }) => over))
    cancelTimeout()
    this.#end({ type: 'drained' })
  }

  async #run(): Promise<void> {
    while (this.#phase === 'resuming' || this.#phase === 'claiming') {
      const pause = await this.#step()
      if (pause > 0 && this.#isTaking()) await this.#pauseFor(pause)
    }
  }

  /** Asks once for a job. Resolves with how long to wait before the next time. */
  async #step(): Promise<number> {
    if (this.#phase === 'claiming' && this.#jobs.size >= this.#process.slots) return Infinity
    const { clock, log } = this.#ports
    const sentAt = clock.monotonic()
    let answer: ClaimAnswer
    try {
      answer = await callWithin(clock, CALL_MS, this.#ask())
      this.#failures = 0
    } catch (error) {
      log.warn(`the queue did not answer: ${errorText(error)}`)
      this.#failures += 1
      return Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** Math.min(this.#failures, 6))
    }
    return this.#take(answer, sentAt)
  }

  #ask(): Promise<ClaimAnswer> {
    this.#requests += 1
    return this.#ports.claims.claim({
      worker: this.#process,
      number: this.#requests,
      holding: [...this.#jobs].map(({ claim: { job, fence } }) => ({ job, fence })),
      wants: this.#phase === 'claiming' ? 'any' : 'resumed',
    })
  }

  async #take(answer: ClaimAnswer, sentAt: number): Promise<number> {
    switch (answer.type) {
      case 'claimed':
        this.#hold(answer.claim, sentAt)
        return 0
      case 'none':
        if (this.#phase !== 'resuming') return POLL_MS
        return this.#stopStrays()
      case 'refused':
        if (answer.why !== this.#refusal) this.#ports.log.warn(answer.why)
        this.#refusal = answer.why
        return LONGEST_PAUSE_MS
      case 'replaced':
        for (const job of this.#jobs) job.lose()
        this.#end({ type: 'replaced' })
        return 0
    }
  }

  async #stopStrays(): Promise<number> {
    try {
      const runs = await Promise.all([...this.#jobs].map(({ begun }) => begun))
      await this.#ports.runner.stopStrays(runs.filter((run): run is RunningJob => run !== undefined))
      if (this.#phase === 'resuming') this.#phase = 'claiming'
      return 0
    } catch (error) {
      this.#ports.log.warn(`agents of an earlier process could not be stopped: ${errorText(error)}`)
      return POLL_MS
    }
  }

  #hold(claim: Claim, sentAt: number): void {
    const earlier = [...this.#jobs].filter((job) => job.claim.job === claim.job).map(({ over }) => over)
    const job = new WorkerJob(this.#ports, claim, sentAt, Promise.all(earlier))
    this.#jobs.add(job)
    void this.#forgetOnceOver(job)
    // An answer that came after the worker began to drain.
    if (this.#phase === 'draining') job.release()
    if (this.#phase === 'ended') job.detach()
  }

  async #forgetOnceOver(job: WorkerJob): Promise<void> {
    await job.over
    this.#jobs.delete(job)
    this.#wake()
  }

  #isTaking(): boolean {
    return this.#phase === 'resuming' || this.#phase === 'claiming'
  }

  #pauseFor(ms: number): Promise<void> {
    const { clock } = this.#ports
    return new Promise((resolve) => {
      const cancel = clock.after(ms, resolve)
      this.#wake = () => {
        cancel()
        this.#wake = () => {}
        clock.after(this.#phase === 'draining' ? 0 : LEAST_PAUSE_MS, resolve)
      }
    })
  }

  #end(end: WorkerEnd): void {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    this.#watching.abort()
    this.#resolve(end)
  }
}
