/** The queue of a fleet, opened at the first use, and the runs that follow their jobs in it. */
import type { Clock } from '../../clock.ts'
import type { Log } from '../../host/log.ts'
import { errorText, HostError } from '../../host/opencode.ts'
import type { FleetRun, RunOver } from './fleet-run.ts'
import type { Jobs } from './jobs.ts'

interface Ports {
  readonly clock: Clock
  readonly log: Log
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** Interval of reading the states of jobs; the queue also reports changes. */
const POLL_MS = 5000

export class FollowedJobs {
  readonly #ports: Ports
  readonly #openJobs: () => Promise<Jobs>
  /** By the id of the job. */
  readonly #runs = new Map<string, FleetRun>()
  #jobs: Promise<Jobs> | undefined
  #cancelPoll = (): void => {}
  /** Whether the states are read now, and whether a later change has made that outdated. */
  #reading: 'none' | 'reading' | 'outdated' = 'none'

  constructor(ports: Ports, openJobs: () => Promise<Jobs>) {
    this.#ports = ports
    this.#openJobs = openJobs
    ports.disposal.addEventListener('abort', () => this.#cancelPoll())
  }

  runOf(jobID: string): FleetRun | undefined {
    return this.#runs.get(jobID)
  }

  /** Starts a run, and has it observe the states of its job. Resolves when it is over. */
  async follow(run: FleetRun): Promise<RunOver> {
    this.#runs.set(run.jobID, run)
    await run.start()
    this.#read()
    const over = await run.over
    this.#runs.delete(run.jobID)
    return over
  }

  open(): Promise<Jobs> {
    this.#jobs ??= this.#openJobs().then(
      (jobs) => {
        jobs.watch(() => this.#read(), this.#ports.disposal)
        return jobs
      },
      (error: unknown) => {
        this.#jobs = undefined
        throw error
      },
    )
    return this.#jobs
  }

  /** Calls the queue. Rejects with a `HostError`. */
  async answered<Value>(call: (jobs: Jobs) => Promise<Value>): Promise<Value> {
    try {
      return await call(await this.open())
    } catch (error) {
      throw new HostError('noAnswer', `the fleet's queue did not answer: ${errorText(error)}`)
    }
  }

  /** Reads the states of all jobs that are followed; once more if this is called meanwhile. */
  #read(): void {
    if (this.#reading === 'none') void this.#readUntilCurrent()
    else this.#reading = 'outdated'
  }

  async #readUntilCurrent(): Promise<void> {
    const { clock, disposal, log } = this.#ports
    this.#cancelPoll()
    do {
      this.#reading = 'reading'
      try {
        const states = await (await this.open()).states([...this.#runs.keys()])
        for (const [jobID, run] of this.#runs) {
          const state = states.get(jobID)
          if (state) run.observe(state)
        }
      } catch (error) {
        log.warn(`the fleet's queue did not answer: ${errorText(error)}`)
      }
    } while (this.#isOutdated())
    this.#reading = 'none'
    if (this.#runs.size > 0 && !disposal.aborted) this.#cancelPoll = clock.after(POLL_MS, () => this.#read())
  }

  #isOutdated(): boolean {
    return this.#reading === 'outdated' && !this.#ports.disposal.aborted
  }
}
