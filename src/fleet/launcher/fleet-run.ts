/**
 * Follows one run of a task at a worker of the fleet, from its offer to its end. Only the queue knows the state of the job: without
 * contact, the run continues.
 *
 *   offering ──→ waiting ⇄ claimed ──→ prompted ──→ over
 *       └───────────┴──────────┴───────────┴──→ over
 *
 * A stop asks the queue to cancel the job. The run is over when the worker says that its agent has stopped, or when its lease has
 * run out.
 */
import type { Clock } from '../../clock.ts'
import { errorText } from '../../host/opencode.ts'
import { pause } from '../../pause.ts'
import type { StopCause } from '../../work/outcome.ts'
import type { JobState, Jobs, Offer } from './jobs.ts'

export interface FleetRunPorts {
  readonly jobs: Jobs
  readonly clock: Clock
  readonly log: { warn(message: string): void }
  /** Aborted when the instance ends: the next one follows the job, and nothing may be offered any more. */
  readonly disposal: AbortSignal
}

export type EndedJob = Extract<JobState, { readonly type: 'ended' }>
type ClaimedJob = Extract<JobState, { readonly type: 'claimed' }>

export interface FleetRunOptions {
  readonly jobID: string
  /** Makes the offer; called again if the queue has not answered. `undefined`: the queue has the job. */
  readonly offer: (() => Promise<Offer>) | undefined
  /** Called once, when the agent was prompted. */
  readonly onPrompted: () => void
  /** Called for each report of the worker. */
  readonly onReport: (state: ClaimedJob) => void
}

/** How a run ended: as the queue reports it, or the reason why it could not be offered. */
export type RunOver = { readonly job: EndedJob } | { readonly refusal: string }

const RETRY_MS = 2000

export class FleetRun {
  readonly over: Promise<RunOver>
  readonly jobID: string
  readonly #ports: FleetRunPorts
  readonly #options: FleetRunOptions
  #resolve!: (over: RunOver) => void
  #phase: 'offering' | 'waiting' | 'claimed' | 'prompted' | 'over' = 'offering'
  #state: JobState | undefined
  #cause: StopCause | undefined
  /** When the queue was last reached, on the monotonic clock. */
  #heardAt: number

  constructor(ports: FleetRunPorts, options: FleetRunOptions) {
    this.#ports = ports
    this.#options = options
    this.jobID = options.jobID
    this.#heardAt = ports.clock.monotonic()
    this.over = new Promise((resolve) => (this.#resolve = resolve))
  }

  get state(): JobState | undefined {
    return this.#state
  }

  get cause(): StopCause | undefined {
    return this.#cause
  }

  /** Milliseconds since the queue was last reached. */
  get silentMs(): number {
    return this.#ports.clock.monotonic() - this.#heardAt
  }

  /** Offers the job, unless the queue has it. Tries again while the queue does not answer. Never rejects. */
  async start(): Promise<void> {
    if (this.#options.offer) await this.#offer(this.#options.offer)
    if (this.#phase === 'offering') this.#phase = 'waiting'
    if (this.#cause) await this.#cancel()
  }

  async #offer(prepare: () => Promise<Offer>): Promise<void> {
    try {
      const offer = await prepare()
      const call = (): Promise<void> => this.#ports.jobs.offer(offer)
      while (!this.#cause && !this.#ports.disposal.aborted && !(await this.#try(call))) await this.#pause()
    } catch (error) {
      // The code cannot be sent. Nothing was offered.
      this.#end({ refusal: errorText(error) })
    }
  }

  /** Stops the run. A later cause does not replace the first. */
  stop(cause: StopCause): void {
    if (this.#cause) return
    this.#cause = cause
    if (this.#phase !== 'offering') void this.#cancel()
  }

  observe(state: JobState): void {
    if (this.#phase === 'over') return
    this.#heardAt = this.#ports.clock.monotonic()
    this.#state = state
    if (state.type === 'ended') this.#end({ job: state })
    if (state.type !== 'claimed') return
    if (state.isPrompted && this.#phase !== 'prompted') {
      this.#phase = 'prompted'
      this.#options.onPrompted()
    } else if (this.#phase !== 'prompted') this.#phase = 'claimed'
    this.#options.onReport(state)
  }

  async #cancel(): Promise<void> {
    let isKnown = true
    const call = async (): Promise<void> => {
      isKnown = await this.#ports.jobs.cancel(this.jobID)
    }
    while (!this.#isOver && !(await this.#try(call))) await this.#pause()
    if (!isKnown) this.#end({ refusal: 'it was stopped first' })
  }

  get #isOver(): boolean {
    return this.#phase === 'over' || this.#ports.disposal.aborted
  }

  #end(over: RunOver): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#resolve(over)
  }

  async #try(call: () => Promise<void>): Promise<boolean> {
    try {
      await call()
      return true
    } catch (error) {
      this.#ports.log.warn(`${this.jobID}: the fleet's queue did not answer: ${errorText(error)}`)
      return false
    }
  }

  #pause(): Promise<void> {
    return pause(this.#ports.clock, RETRY_MS, [this.#ports.disposal])
  }
}
