/**
 * The guards of the rules, of the queue in memory and of the loop of the worker, each with the invariant that the simulation finds broken
 * without it. `tests/unit/fleet/guards.test.ts` takes each out of the source, and expects that.
 *
 * Some guards are not here. Another one covers for them: the loop of a worker and the queue both keep to its slots. A rule refuses
 * what no worker asks (that a resumed job was not prompted, an acknowledgement before the end). Or small simulations do not reach
 * them: a cancel in the moment in which a draining worker hands the job back.
 */
import type { Invariant } from './verdict.ts'

export interface Guard {
  readonly what: string
  /** In `src/fleet` or `tests/fleet-model`. */
  readonly file: string
  readonly guard: string
  readonly without: string
  readonly found: Invariant
}

export const GUARDS: readonly Guard[] = [
  {
    what: 'a claim writes only until a later one',
    file: 'job.ts',
    guard: 'job.fence === fence && ',
    without: '',
    found: 'only the holder of a lease writes',
  },
  {
    what: 'a claim writes only within its lease',
    file: 'job.ts',
    guard: 'isClaimed(job) && now < job.status.leaseUntil',
    without: 'isClaimed(job)',
    found: 'only the holder of a lease writes',
  },
  {
    what: 'a job whose agent was prompted is not given to another worker',
    file: 'rules.ts',
    guard: "status: { ...status, type: 'lapsed', resumeUntil: status.leaseUntil + times.resumeMs }",
    without: "status: { type: 'waiting' }",
    found: 'a job is given up when its time has come',
  },
  {
    what: 'the queue accepts no prompt of a cancelled job',
    file: 'rules.ts',
    guard: "phase === 'prompted' && status.cancelledAt === undefined",
    without: "phase === 'prompted'",
    found: 'no prompt follows a cancel',
  },
  {
    what: 'a worker has the labels of its jobs',
    file: 'job.ts',
    guard: '|| !offer.labels.every((label) => labels.includes(label))',
    without: '',
    found: 'a job goes to a worker that has its labels',
  },
  {
    what: 'other workers come first after a failed start',
    file: 'job.ts',
    guard: 'return status.failure?.worker !== name || status.failure.until <= now',
    without: 'return true',
    found: 'a worker that could not start a job does not get it again at once',
  },
  {
    what: 'a job has so many attempts',
    file: 'rules.ts',
    guard: 'failures >= times.attempts',
    without: 'failures > times.attempts',
    found: 'a job that nobody can start is given up after some attempts',
  },
  {
    what: 'a job is at its worker on the same disk',
    file: 'job.ts',
    guard: '&& job.status.worker.identity === identity',
    without: '',
    found: 'a job is resumed by its own worker, on the same disk',
  },
  {
    what: 'a claim that its worker holds is not given up',
    file: 'rules.ts',
    guard: 'if (isItsOwn && held === job.fence) return undefined',
    without: '',
    found: 'a claim is not taken from the process that holds it',
  },
  {
    what: 'a claim that its worker holds is not resumed',
    file: 'rules.ts',
    guard: 'if (status.worker.process === worker.process && held === job.fence) return undefined',
    without: '',
    found: 'a claim is not taken from the process that holds it',
  },
  {
    what: 'what was never prompted is not called interrupted',
    file: 'rules.ts',
    guard:
      "if (status.type === 'starting')\n    return giveBack(job, status, 'it was lost on its way to the worker', now, times)",
    without: '',
    found: 'an end says what has happened',
  },
  {
    what: 'what an earlier process has prompted is resumed',
    file: 'rules.ts',
    guard: "if (!isItsOwn || wants === 'resumed' || status.type === 'resumed') return undefined",
    without: "if (status.type === 'resumed') return undefined",
    found: 'a job is given up when its time has come',
  },
  {
    what: 'a resumed claim whose answer was lost is given again',
    file: 'rules.ts',
    guard: "if (!isItsOwn || wants === 'resumed' || status.type === 'resumed') return undefined",
    without: 'if (!isItsOwn) return undefined',
    found: 'an end says what has happened',
  },
  {
    what: 'a resumed job has a later claim',
    file: 'rules.ts',
    guard: 'fence: job.fence + 1, status: resumed',
    without: 'fence: job.fence, status: resumed',
    found: 'a later claim has a greater number',
  },
  {
    what: 'a result is taken after the lease',
    file: 'rules.ts',
    guard: "const isResult = settlement.type === 'result' && ",
    without: 'const isResult = false && ',
    found: 'a result is taken while its job is not at another claim',
  },
  {
    what: 'a claim has its lease to prompt its agent',
    file: 'rules.ts',
    guard: 'if (now < status.leaseUntil) return undefined\n      return giveBack',
    without: 'return giveBack',
    found: 'a job is given up when its time has come',
  },
  {
    what: 'a prompted job lapses with its lease',
    file: 'rules.ts',
    guard: 'if (now < status.leaseUntil) return undefined\n      if (status.cancelledAt',
    without: 'if (status.cancelledAt',
    found: 'a job is given up when its time has come',
  },
  {
    what: 'a lapsed job waits for its worker',
    file: 'rules.ts',
    guard: 'if (now < status.resumeUntil) return undefined',
    without: '',
    found: 'a job is given up when its time has come',
  },
  {
    what: 'a cancelled job ends with its lease',
    file: 'rules.ts',
    guard: 'if (status.cancelledAt !== undefined) return cancelUnseen(job, status)',
    without: '',
    found: 'a cancelled job ends with its lease',
  },
  {
    what: 'a cancelled job that was not started is not given to others',
    file: 'rules.ts',
    guard: 'if (held.cancelledAt !== undefined) return unstarted(job)',
    without: '',
    found: 'no prompt follows a cancel',
  },
  {
    what: 'a checkpoint goes with an end',
    file: 'rules.ts',
    guard: 'return checkpoint ? { checkpoint } : {}',
    without: 'return {}',
    found: 'a checkpoint stays with its job',
  },
  {
    what: 'a message waits for the prompt',
    file: 'job.ts',
    guard: "if (job.status.type === 'starting') return []",
    without: '',
    found: 'an agent hears nothing before its prompt',
  },
  {
    what: 'a claim keeps to the limits',
    file: 'waiting-jobs.ts',
    guard: '>= most)) continue',
    without: '> most)) continue',
    found: 'no limit is passed',
  },
  {
    what: 'a request to claim that was overtaken does nothing',
    file: 'memory-fleet.ts',
    guard: 'number <= known.number',
    without: 'number < 0',
    found: 'a request that is not due changes nothing',
  },
  {
    what: 'a repeated offer changes nothing',
    file: 'memory-fleet.ts',
    guard: 'if (this.#jobs.has(keyOf(offer.id))) return',
    without: '',
    found: 'a job that has ended is not claimed',
  },
  {
    what: 'a cancel refuses an offer that comes later',
    file: 'memory-fleet.ts',
    guard: 'else this.#put(refusedJob(keyOf(id), owner, id))',
    without: '',
    found: 'a job that has ended is not claimed',
  },
  {
    what: 'a worker of another protocol is refused',
    file: 'memory-fleet.ts',
    guard: 'if (worker.protocol !== PROTOCOL)',
    without: 'if (worker.protocol === undefined)',
    found: 'a worker is refused for a reason',
  },
  {
    what: 'a second worker of a name is refused',
    file: 'memory-fleet.ts',
    guard: 'if (isOther && now - known.heardAt < this.#times.leaseMs)',
    without: 'if (isOther && now < 0)',
    found: 'a name belongs to one worker',
  },
  {
    what: 'a beat keeps the name of its worker',
    file: 'memory-fleet.ts',
    guard:
      'if (known?.process === worker.process) this.#workers.set(worker.name, { ...known, heardAt: now })',
    without: '',
    found: 'a name belongs to one worker',
  },
  {
    what: 'a process that was replaced is told so',
    file: 'memory-fleet.ts',
    guard: "if (known?.replaced.includes(worker.process)) return { type: 'replaced' }",
    without: '',
    found: 'a request that is not due changes nothing',
  },
  {
    what: 'an overloaded provider holds back its jobs',
    file: 'memory-fleet.ts',
    guard: '!isHeldBack && ',
    without: '',
    found: 'no job of an overloaded provider is claimed',
  },
  {
    what: 'a shorter back-off does not end a longer one',
    file: 'memory-fleet.ts',
    guard: 'Math.max(until, now + backoff.forMs)',
    without: 'now + backoff.forMs',
    found: 'no job of an overloaded provider is claimed',
  },
  {
    what: 'a worker that resumes takes no new job',
    file: 'memory-fleet.ts',
    guard: "wants !== 'any' || ",
    without: '',
    found: 'a worker that takes no new job gets none',
  },
  {
    what: 'a worker claims no more than its slots',
    file: 'memory-fleet.ts',
    guard: ' || inUse >= worker.slots',
    without: '',
    found: 'a worker has no more jobs than slots',
  },
  {
    what: 'a repeated settlement is taken',
    file: 'memory-fleet.ts',
    guard: 'if (this.#jobs.get(job)?.settled === fence) return true',
    without: '',
    found: 'a repeated settlement is answered as the first',
  },
  {
    what: 'a prompt waits for the answer of the queue',
    file: 'worker-job.ts',
    guard: 'this.#prompting = { resolve, reject }))',
    without: 'this.#prompting = { resolve, reject }))\n    this.#prompting?.resolve()',
    found: 'a prompt waits until the queue has accepted it',
  },
  {
    what: 'a worker prompts no agent of a cancelled job',
    file: 'worker-job.ts',
    guard: 'if (answer.isCancelled) this.#cancel()\n      else if',
    without: 'if',
    found: 'a prompt waits until the queue has accepted it',
  },
  {
    what: 'a worker stops its agent before the lease runs out',
    file: 'worker-job.ts',
    guard: '() => this.lose())\n',
    without: '() => {})\n',
    found: 'no lease runs out while its agent works under a worker that lives',
  },
  {
    what: 'an agent is stopped in the lease that is left',
    file: 'worker-job.ts',
    guard: 'const TRUSTED = 5 / 6',
    without: 'const TRUSTED = 3 / 2',
    found: 'no lease runs out while its agent works under a worker that lives',
  },
  {
    what: 'a lost claim stops its agent',
    file: 'worker-job.ts',
    guard: 'this.#run?.stop()\n    // An agent',
    without: '// An agent',
    found: 'no lease runs out while its agent works under a worker that lives',
  },
  {
    what: 'an agent is handed a message once',
    file: 'job-messages.ts',
    guard: '!run || this.#said.has(id)',
    without: '!run',
    found: 'an agent hears a message once from a process',
  },
  {
    what: 'an end names what its agent has not heard',
    file: 'job.ts',
    guard: 'return texts.length === 0 ? status : { ...status, unheard: texts }',
    without: 'return status',
    found: 'a message is heard, or the end names it',
  },
  {
    what: 'a message that an ended agent does not read is not heard',
    file: 'job-messages.ts',
    guard: 'if (await run.say(text)) this.#heard',
    without: 'await run.say(text)\n      this.#heard',
    found: 'a message is heard, or the end names it',
  },
  {
    what: 'a result says what its agent has heard',
    file: 'worker-job.ts',
    guard: "return { type: 'result', result, heard: this.#messages.heard }",
    without: "return { type: 'result', result, heard: [] }",
    found: 'a result names no message that its worker has brought',
  },
  {
    what: 'a worker that goes away hands back only what was not prompted',
    file: 'worker-job.ts',
    guard: "if (this.#phase === 'starting') this.#stopBeforePrompt('released')",
    without: "this.#stopBeforePrompt('released')",
    found: 'a job is handed back without a prompt',
  },
  {
    what: 'agents that nobody resumes are stopped',
    file: 'worker-loop.ts',
    guard: 'await this.#ports.runner.stopStrays(runs.filter((run): run is RunningJob => run !== undefined))',
    without: '',
    found: 'no agent of an earlier process works on beside new ones',
  },
  {
    what: 'a worker first resumes, then claims',
    file: 'worker-loop.ts',
    guard: "wants: this.#phase === 'claiming' ? 'any' : 'resumed'",
    without: "wants: 'any'",
    found: 'no agent of an earlier process works on beside new ones',
  },
]
