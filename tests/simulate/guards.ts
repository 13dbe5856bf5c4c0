/**
 * The guards of the rules and of the loop of the worker, each with what the simulation finds without it.
 * `tests/unit/fleet/guards.test.ts` takes each out of the source, and expects that.
 */
export interface Guard {
  readonly what: string
  /** In `src/fleet`. */
  readonly file: string
  readonly guard: string
  readonly without: string
  readonly found: string
}

export const GUARDS: readonly Guard[] = [
  {
    what: 'a claim writes only until a later one',
    file: 'rules.ts',
    guard: 'job.fence === fence && ',
    without: '',
    found: 'wrote after claim',
  },
  {
    what: 'a job whose agent was prompted is not given to another worker',
    file: 'rules.ts',
    guard: "status: { ...status, type: 'lapsed', resumeUntil: status.leaseUntil + times.resumeMs }",
    without: "status: { type: 'waiting' }",
    found: 'started elsewhere after its prompt was accepted',
  },
  {
    what: 'a claim keeps to the limits',
    file: 'waiting-jobs.ts',
    guard: '>= most)) continue',
    without: '> most)) continue',
    found: 'whose limit is',
  },
  {
    what: 'a prompt waits for the answer of the queue',
    file: 'worker-job.ts',
    guard: 'this.#prompting = { resolve, reject }))',
    without: 'this.#prompting = { resolve, reject }))\n    this.#prompting?.resolve()',
    found: 'prompted',
  },
  {
    what: 'a claim that its worker holds is not taken away',
    file: 'rules.ts',
    guard: 'if (isItsOwn && held === job.fence) return undefined',
    without: '',
    found: 'works under a worker that lives',
  },
  {
    what: 'a resumed job has a later claim',
    file: 'rules.ts',
    guard: 'fence: job.fence + 1, status: resumed',
    without: 'fence: job.fence, status: resumed',
    found: 'comes after',
  },
  {
    what: 'a request to claim that was overtaken does nothing',
    file: 'memory-fleet.ts',
    guard: 'number <= known.number',
    without: 'number < 0',
    found: 'works under a worker that lives',
  },
]
