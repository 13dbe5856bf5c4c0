/**
 * What must hold at every moment, judged apart from the rules of the queue: from what processes ask of the queue, from each job that
 * changes by that, from the agents, and from what launchers are told.
 */
import type { JobState } from '../../src/fleet/launcher/jobs.ts'
import type {
  Beat,
  BeatAnswer,
  ClaimAnswer,
  ClaimRequest,
  Fence,
  FleetLimits,
  FleetTimes,
  Settlement,
  WorkerProcess,
} from '../../src/fleet/port.ts'
import { countedAt, type Job } from '../fleet-model/job.ts'
import { LimitJudge, type Kind } from './limit-judge.ts'
import { NameJudge, type Admission } from './name-judge.ts'
import type { Time } from './sim-clock.ts'
import { Verdict, type Invariant } from './verdict.ts'

/** An agent, wherever it is. */
export interface Agent {
  readonly job: string
  /** The identity of its machine. */
  readonly disk: string
  state: 'working' | 'stopping'
  /** Whether a process that watches it lives. */
  readonly isWatched: () => boolean
  readonly isWatchedBy: (process: string) => boolean
}

/** What a process asks of the queue. */
type Act =
  | { readonly type: 'claim'; readonly request: ClaimRequest; readonly owed: Admission }
  | { readonly type: 'beat'; readonly fence: Fence; readonly beat: Beat }
  | { readonly type: 'settle'; readonly fence: Fence; readonly settlement: Settlement }
  | { readonly type: 'cancel' }

/** What is known of a job. */
interface Known extends Kind {
  readonly job: string
  readonly labels: readonly string[]
  phase: 'waiting' | 'starting' | 'prompted' | 'ended'
  /** Whether the queue has accepted that its agent is prompted. */
  isAccepted: boolean
  /** When the queue was asked for an end. */
  cancel: 'never' | 'before the prompt' | 'after the prompt'
  /** The last claim. */
  fence: number
  holder: WorkerProcess | undefined
  leaseUntil: number
  settled: number
  /** The claims that did not start it, and the worker that does not get it for now. */
  failures: number
  avoided: { readonly worker: string; readonly until: number } | undefined
  checkpoint: object | undefined
  result: object | undefined
  prompts: number
  told: number
  agent: Agent | undefined
  /** What its launcher has said, as long as the queue took it. */
  readonly said: Set<string>
  readonly heard: { readonly process: string; readonly text: string }[]
}

const UNTOUCHED = {
  phase: 'waiting',
  isAccepted: false,
  cancel: 'never',
  fence: 0,
  holder: undefined,
  leaseUntil: 0,
  settled: 0,
  failures: 0,
  avoided: undefined,
  checkpoint: undefined,
  result: undefined,
  prompts: 0,
  told: 0,
  agent: undefined,
} as const

export class Oracle {
  readonly figures = {
    claims: 0,
    beats: 0,
    resumed: 0,
    prompts: 0,
    told: 0,
    kills: 0,
    lost: 0,
    handedBack: 0,
  }
  readonly ends = new Map<string, number>()
  readonly verdict: Verdict
  readonly #time: Time
  readonly #times: FleetTimes
  readonly #limits: LimitJudge
  readonly #names: NameJudge
  readonly #jobs = new Map<string, Known>()
  /** By the disk of their machine. */
  readonly #agents = new Map<string, Set<Agent>>()
  /** What is asked at this moment. */
  #act: Act | undefined

  constructor(time: Time, limits: FleetLimits, times: FleetTimes) {
    this.#time = time
    this.#times = times
    this.verdict = new Verdict(time)
    this.#limits = new LimitJudge(time, limits, this.verdict)
    this.#names = new NameJudge(time, times.leaseMs)
  }

  get most(): ReadonlyMap<string, number> {
    return this.#limits.most
  }

  launched(job: string, { labels, model, provider }: Pick<Known, 'labels' | 'model' | 'provider'>): void {
    this.#jobs.set(job, { job, labels, model, provider, ...UNTOUCHED, said: new Set(), heard: [] })
  }

  async claim(request: ClaimRequest, verb: () => Promise<ClaimAnswer>): Promise<ClaimAnswer> {
    const owed = this.#names.admit(request)
    const answer = await this.#during({ type: 'claim', request, owed }, verb)
    const { name } = request.worker
    if (owed === 'taken name') this.#check('a name belongs to one worker', name, answer.type === 'refused')
    else if (owed === 'replaced' || owed === 'overtaken')
      this.#check(
        'a replaced process gets nothing',
        name,
        answer.type === (owed === 'replaced' ? owed : 'none'),
      )
    else
      this.#check(
        'a worker is refused for a reason',
        name,
        answer.type !== 'replaced' && (answer.type === 'refused') === (owed === 'other protocol'),
      )
    return answer
  }

  async beat(fence: Fence, beat: Beat, verb: () => Promise<BeatAnswer>): Promise<BeatAnswer> {
    const known = this.#jobs.get(fence.job)!
    const isDue = this.#holds(known, fence)
    const answered = this.#during({ type: 'beat', fence, beat }, verb)
    const { cancel, phase } = known
    const answer = await answered
    this.#check('a beat within its lease is held', fence.job, !isDue || answer.type === 'held')
    if (answer.type === 'lost') this.figures.lost += 1
    else {
      this.figures.beats += 1
      this.#check('a beat brings the cancel', fence.job, answer.isCancelled === (cancel !== 'never'))
      const isSilent = answer.messages.length === 0
      this.#check('an agent hears nothing before its prompt', fence.job, isSilent || phase === 'prompted')
    }
    return answer
  }

  async settle(fence: Fence, settlement: Settlement, verb: () => Promise<boolean>): Promise<boolean> {
    const known = this.#jobs.get(fence.job)!
    const isRepeated = known.settled === fence.fence
    const isOwed = settlement.type === 'result' && known.fence === fence.fence && known.phase === 'prompted'
    const isTaken = await this.#during({ type: 'settle', fence, settlement }, verb)
    this.note(fence.job, `claim ${fence.fence} settles ${settlement.type}: ${isTaken ? 'taken' : 'refused'}`)
    this.#check('a repeated settlement is answered as the first', fence.job, !isRepeated || isTaken)
    this.#check('a result is taken while its job is not at another claim', fence.job, !isOwed || isTaken)
    return isTaken
  }

  cancel<Answer>(verb: () => Promise<Answer>): Promise<Answer> {
    return this.#during({ type: 'cancel' }, verb)
  }

  /** A launcher says something to an agent. */
  async say(job: string, text: string, verb: () => Promise<boolean>): Promise<boolean> {
    const isTaken = await verb()
    if (isTaken) this.#jobs.get(job)!.said.add(text)
    return isTaken
  }

  /** A job has changed in the queue. */
  changed(before: Job | undefined, now: Job): void {
    const known = this.#jobs.get(now.key)!
    const act = this.#act
    if (act?.type === 'claim')
      this.#check('a request that is not due changes nothing', now.key, act.owed === 'admitted', act.owed)
    const [was, is] = [before && countedAt(before), countedAt(now)]
    if (was === undefined && is !== undefined) this.#started(known, now, act)
    else if (was !== undefined && is === undefined) this.#freed(known, now, act)
    else if (act?.type === 'claim') this.#resumed(known, now, act)
    else if (act?.type === 'beat') this.#beaten(known, now, act)
    else if (act?.type === 'cancel') this.#cancelled(known, now)
    else if (before?.status.type !== 'lapsed' && now.status.type === 'lapsed') this.#lapsed(known)
  }

  /** A prompt is sent to an agent. */
  prompted(agent: Agent, process: string): void {
    const { job } = agent
    const known = this.#jobs.get(job)!
    this.figures.prompts += 1
    known.prompts += 1
    this.note(job, `prompted at ${process}`)
    this.#check('an agent is prompted once', job, known.prompts === 1)
    this.#check('a prompt waits until the queue has accepted it', job, known.isAccepted)
    this.#check('no prompt follows a cancel', job, known.cancel !== 'before the prompt')
    this.#check('no prompt follows an end', job, known.phase !== 'ended' && known.told === 0)
    known.agent = agent
    const agents = this.#agents.get(agent.disk) ?? new Set()
    this.#agents.set(agent.disk, agents.add(agent))
  }

  stopped(agent: Agent): void {
    this.#agents.get(agent.disk)?.delete(agent)
    this.#jobs.get(agent.job)!.agent = undefined
    this.note(agent.job, 'the agent has stopped')
  }

  /** An agent reads a message that a process has brought it. */
  heard(job: string, process: string, text: string): void {
    const known = this.#jobs.get(job)!
    this.#check('an agent hears a message once from a process', job, !hasHeard(known, text, process))
    known.heard.push({ process, text })
  }

  /** A launcher has told an end; without a state: that the job was never offered. */
  told(job: string, state: JobState | undefined): void {
    const known = this.#jobs.get(job)!
    const end = endOf(state)
    known.told += 1
    this.figures.told += 1
    this.ends.set(end, (this.ends.get(end) ?? 0) + 1)
    this.note(job, `told: ${end}`)
    this.#check('an end is told once', job, known.told === 1)
    this.#check('an end says what has happened', job, this.#isTrue(known, state, end), end)
    if (state?.type !== 'ended') return
    this.#check('a result is that of the last claim', job, state.result === known.result)
    this.#check('a checkpoint stays with its job', job, state.checkpoint === known.checkpoint)
    this.#saysUnheard(known, state)
  }

  /** An agent may have heard what the end names as not heard: its worker was lost before it could say so. */
  #saysUnheard(known: Known, { result, unheard = [] }: Extract<JobState, { readonly type: 'ended' }>): void {
    const { holder, job, said } = known
    for (const text of said) {
      const isNamed = unheard.includes(text)
      this.#check('a message is heard, or the end names it', job, isNamed || hasHeard(known, text))
      const isBrought = result !== undefined && hasHeard(known, text, holder?.process)
      this.#check('a result names no message that its worker has brought', job, !isNamed || !isBrought)
    }
  }

  /** The simulation is over. */
  finished(): void {
    for (const [job, { told }] of this.#jobs) this.#check('each end is told', job, told > 0)
  }

  note(job: string, what: string): void {
    this.verdict.note(job, what)
  }

  #started(known: Known, now: Job, act: Act | undefined): void {
    const { job, labels } = known
    if (act?.type !== 'claim') return this.#check('a job that has ended is not claimed', job, false)
    const { request } = act
    const { worker } = request
    this.figures.claims += 1
    this.#check('a job that has ended is not claimed', job, known.phase === 'waiting' && known.told === 0)
    const isLabelled = labels.every((label) => worker.labels.includes(label))
    this.#check('a job goes to a worker that has its labels', job, isLabelled)
    this.#check('a worker that takes no new job gets none', job, request.wants === 'any')
    const { avoided = { worker: '', until: 0 }, failures } = known
    const isAvoided = avoided.worker === worker.name && this.#time.now < avoided.until
    this.#check('a worker that could not start a job does not get it again at once', job, !isAvoided)
    const isHopeful = failures < this.#times.attempts
    this.#check('a job that nobody can start is given up after some attempts', job, isHopeful)
    for (const { job: other, isWatchedBy, state } of this.#agents.get(worker.identity) ?? []) {
      const isStray = state === 'working' && !isWatchedBy(worker.process)
      this.#check('no agent of an earlier process works on beside new ones', other, !isStray)
    }
    this.#limits.claimed(job, known, worker)
    this.#take(known, now, worker)
    known.phase = 'starting'
  }

  #resumed(known: Known, now: Job, { request }: Act & { type: 'claim' }): void {
    const { fence, holder, job } = known
    const { holding, worker } = request
    this.figures.resumed += 1
    this.#check('only a prompted job is resumed', job, known.phase === 'prompted')
    const isOwn = holder?.name === worker.name && holder.identity === worker.identity
    this.#check('a job is resumed by its own worker, on the same disk', job, isOwn, worker.process)
    const isTaken = holder?.process === worker.process && isIn(holding, job, fence)
    this.#check('a claim is not taken from the process that holds it', job, !isTaken)
    this.#take(known, now, worker)
  }

  #take(known: Known, { fence, status }: Job, worker: WorkerProcess): void {
    this.note(known.job, `claim ${fence} of ${worker.process}: ${status.type}`)
    const isLater = fence > known.fence
    this.#check(
      'a later claim has a greater number',
      known.job,
      isLater,
      `${fence} came after ${known.fence}`,
    )
    known.fence = fence
    known.holder = worker
    known.leaseUntil = this.#time.now + this.#times.leaseMs
  }

  #beaten(known: Known, { status }: Job, { fence, beat }: Act & { type: 'beat' }): void {
    const { job } = known
    this.#check(
      'only the holder of a lease writes',
      job,
      this.#holds(known, fence),
      `claim ${fence.fence} beat`,
    )
    known.leaseUntil = this.#time.now + this.#times.leaseMs
    if (beat.checkpoint) known.checkpoint = beat.checkpoint
    if (beat.backoff) this.#limits.overloaded(beat.backoff.provider, beat.backoff.forMs)
    if (known.holder) this.#names.heard(known.holder)
    if (known.phase !== 'starting' || status.type === 'starting') return
    this.#check('no prompt follows a cancel', job, known.cancel === 'never')
    this.note(job, `the prompt of claim ${fence.fence} is accepted`)
    known.phase = 'prompted'
    known.isAccepted = true
  }

  #cancelled(known: Known, { status }: Job): void {
    known.cancel = known.isAccepted ? 'after the prompt' : 'before the prompt'
    this.note(known.job, `the queue has the cancel: ${status.type}`)
    this.#check('a cancelled job ends with its lease', known.job, status.type !== 'lapsed')
    if (status.type === 'ended') known.phase = 'ended'
  }

  #lapsed({ agent, cancel, job, leaseUntil }: Known): void {
    this.#check('a job is given up when its time has come', job, this.#time.now >= leaseUntil)
    const isAtWork = agent?.isWatched() ?? false
    this.#check('no lease runs out while its agent works under a worker that lives', job, !isAtWork)
    this.#check('a cancelled job ends with its lease', job, cancel === 'never')
  }

  /** A job takes up no room any more: it waits again, or has ended. */
  #freed(known: Known, { status }: Job, act: Act | undefined): void {
    const { agent, holder, job } = known
    this.note(job, `given up by ${act?.type ?? 'time'}: ${status.type}`)
    this.#isDue(known, act)
    const isAtWork = agent?.isWatched() ?? false
    this.#check('no job is given up while its agent works under a worker that lives', job, !isAtWork)
    this.#limits.freed(known, holder?.name ?? '')
    if (act?.type === 'cancel') known.cancel = 'after the prompt'
    if (status.type === 'waiting') this.#handedBack(known, act)
    else {
      known.phase = 'ended'
      const saysStopped = status.type === 'ended' && (status.why ?? '').endsWith('and stopped the agent')
      this.#check('an end says what has happened', job, !saysStopped || !agent)
    }
  }

  /** Checks whether a job may be taken from its worker. */
  #isDue(known: Known, act: Act | undefined): void {
    const { fence, holder, job, leaseUntil } = known
    const isLate = this.#time.now >= leaseUntil
    switch (act?.type) {
      case 'settle': {
        const { settlement } = act
        const isResult = settlement.type === 'result' && known.phase === 'prompted'
        const mayWrite = act.fence.fence === fence && (!isLate || isResult)
        this.#check('only the holder of a lease writes', job, mayWrite, `claim ${act.fence.fence} settled`)
        const saysUnprompted = settlement.type !== 'result' && settlement.type !== 'interrupted'
        this.#check('a job is handed back without a prompt', job, !saysUnprompted || known.prompts === 0)
        known.settled = act.fence.fence
        known.result = settlement.type === 'result' ? settlement.result : undefined
        return
      }
      case 'claim': {
        const { holding, worker } = act.request
        const isOwn = holder?.name === worker.name && holder.identity === worker.identity
        const isHolder = holder?.process === worker.process
        const isTaken = !isOwn || (isHolder && isIn(holding, job, fence))
        this.#check('a claim is not taken from the process that holds it', job, !isTaken, worker.process)
        // What another process had prompted is resumed.
        const mayEnd = isHolder || known.phase === 'starting'
        this.#check('a job is given up when its time has come', job, mayEnd)
        return
      }
      default: {
        const mayComeBack = known.phase === 'prompted' && known.cancel === 'never' && act === undefined
        const dueAt = leaseUntil + (mayComeBack ? this.#times.resumeMs : 0)
        this.#check('a job is given up when its time has come', job, this.#time.now >= dueAt)
      }
    }
  }

  #handedBack(known: Known, act: Act | undefined): void {
    const { holder, job, phase } = known
    const isSettled = act?.type === 'settle'
    this.figures.handedBack += 1
    this.#check('a prompted job is not started anew', job, isSettled || phase === 'starting')
    known.phase = 'waiting'
    known.isAccepted = false
    known.avoided = undefined
    if (isSettled && act.settlement.type === 'released') return
    known.failures += 1
    known.avoided = { worker: holder?.name ?? '', until: this.#time.now + this.#times.retryMs }
  }

  /** Returns whether an end is what has happened. */
  #isTrue(known: Known, state: JobState | undefined, end: string): boolean {
    const { cancel, failures, fence, isAccepted, prompts } = known
    if (state?.type !== 'ended') return fence === 0
    if (state.isCancelled === true && cancel === 'never') return false
    if (end.includes('before its agent was prompted')) return prompts === 0 && cancel !== 'never'
    if (cancel === 'before the prompt') return false
    if (end.includes('never prompted')) return prompts === 0 && failures === this.#times.attempts - 1
    if (end === 'completed') return prompts === 1
    return isAccepted || state.result !== undefined
  }

  #holds({ fence, leaseUntil, phase }: Known, claim: Fence): boolean {
    const isHeld = phase === 'starting' || phase === 'prompted'
    return isHeld && fence === claim.fence && this.#time.now < leaseUntil
  }

  /** Does what a verb does to the queue, which the one in memory does before the verb returns. */
  #during<Answer>(act: Act, verb: () => Promise<Answer>): Promise<Answer> {
    this.#act = act
    try {
      return verb()
    } finally {
      this.#act = undefined
    }
  }

  #check(invariant: Invariant, job: string, holds: boolean, detail?: string): void {
    this.verdict.check(invariant, job, holds, detail)
  }
}

/** @param by a process that has brought it; any one without */
function hasHeard({ heard }: Known, text: string, by?: string): boolean {
  return heard.some((message) => message.text === text && (by === undefined || message.process === by))
}

function isIn(holding: readonly Fence[], job: string, fence: number): boolean {
  return holding.some((held) => held.job === job && held.fence === fence)
}

/** The kind of an end, without names. */
function endOf(state: JobState | undefined): string {
  if (state?.type !== 'ended') return 'never offered'
  if (state.result !== undefined) return (state.result as { readonly outcome: string }).outcome
  return (state.why ?? 'no reason').replace(/worker \S+/g, 'worker').replace(/: \d+ claims.*/, '')
}
