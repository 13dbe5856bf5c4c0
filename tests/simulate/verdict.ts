/** What each job went through, how often each invariant was checked, and the first one that was broken. */
import type { Time } from './sim-clock.ts'

export const INVARIANTS = [
  // Limits.
  'no limit is passed',
  'a worker has no more jobs than slots',
  'no job of an overloaded provider is claimed',
  // Claims.
  'a job goes to a worker that has its labels',
  'a worker that could not start a job does not get it again at once',
  'a job that nobody can start is given up after some attempts',
  'a later claim has a greater number',
  'a job that has ended is not claimed',
  'a prompted job is not started anew',
  'a job is resumed by its own worker, on the same disk',
  'only a prompted job is resumed',
  'a claim is not taken from the process that holds it',
  'a worker that takes no new job gets none',
  'no agent of an earlier process works on beside new ones',
  // Names.
  'a name belongs to one worker',
  'a replaced process gets nothing',
  'a worker is refused for a reason',
  'a request that is not due changes nothing',
  // Leases.
  'only the holder of a lease writes',
  'a beat within its lease is held',
  'a beat brings the cancel',
  'a repeated settlement is answered as the first',
  'a result is taken while its job is not at another claim',
  'a job is given up when its time has come',
  'a cancelled job ends with its lease',
  'no job is given up while its agent works under a worker that lives',
  'no lease runs out while its agent works under a worker that lives',
  // Prompts.
  'an agent is prompted once',
  'a prompt waits until the queue has accepted it',
  'no prompt follows a cancel',
  'no prompt follows an end',
  'a job is handed back without a prompt',
  'an agent hears nothing before its prompt',
  'an agent hears a message once from a process',
  'a message is heard, or the end names it',
  'a result names no message that its worker has brought',
  // Ends.
  'each end is told',
  'an end is told once',
  'an end says what has happened',
  'a result is that of the last claim',
  'a checkpoint stays with its job',
] as const

export type Invariant = (typeof INVARIANTS)[number]

export class Verdict {
  /** The first one. */
  violation: string | undefined
  readonly checks = new Map<Invariant, number>()
  readonly #time: Time
  readonly #histories = new Map<string, string[]>()

  constructor(time: Time) {
    this.#time = time
  }

  note(job: string, what: string): void {
    const line = `${(this.#time.now / 1000).toFixed(2).padStart(10)} s  ${what}`
    const history = this.#histories.get(job)
    if (history) history.push(line)
    else this.#histories.set(job, [line])
  }

  /** Checks an invariant of a job. */
  check(invariant: Invariant, job: string, holds: boolean, detail = ''): void {
    this.checks.set(invariant, (this.checks.get(invariant) ?? 0) + 1)
    if (holds || this.violation !== undefined) return
    this.note(job, `VIOLATION: ${invariant}`)
    const history = this.#histories.get(job)?.join('\n') ?? ''
    this.violation = `${job}: ${invariant}${detail === '' ? '' : `, but ${detail}`}\n${history}`
  }
}
