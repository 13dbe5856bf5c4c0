/** What must hold at every moment, judged apart from the rules of the queue. The first violation ends the simulation. */
import type { JobState } from '../../src/fleet/launcher/jobs.ts'
import type { BeatAnswer, Claim, Fence, FleetLimits, Settlement } from '../../src/fleet/port.ts'
import type { Time } from './sim-clock.ts'

/** What is known of a job from outside of the queue. */
interface Known {
  readonly provider: string
  readonly model: string
  prompts: number
  told: number
  /** The newest claim, and until when its holder may write. */
  fence: number
  leaseUntil: number
  settled: number
  isPromptAccepted: boolean
  readonly history: string[]
}

/** An agent, wherever it is. */
export interface Agent {
  readonly job: string
  /** Whether the process that watches it lives. */
  readonly isWatched: () => boolean
}

export class Oracle {
  violation: string | undefined
  readonly figures = { claims: 0, beats: 0, resumed: 0, prompts: 0, told: 0, kills: 0, lost: 0 }
  readonly ends = new Map<string, number>()
  readonly most = new Map<string, number>()
  readonly #time: Time
  readonly #limits: FleetLimits
  readonly #leaseMs: number
  readonly #jobs = new Map<string, Known>()
  readonly #agents = new Set<Agent>()
  readonly #counts = new Map<string, number>()

  constructor(time: Time, limits: FleetLimits, leaseMs: number) {
    this.#time = time
    this.#limits = limits
    this.#leaseMs = leaseMs
  }

  launched(job: string, provider: string, model: string): void {
    const numbers = { prompts: 0, told: 0, fence: 0, leaseUntil: 0, settled: 0, isPromptAccepted: false }
    this.#jobs.set(job, { provider, model, ...numbers, history: [] })
  }

  note(job: string, what: string): void {
    const seconds = (this.#time.now / 1000).toFixed(2)
    this.#jobs.get(job)?.history.push(`${seconds.padStart(10)} s  ${what}`)
  }

  claimed({ job, fence, type, owner: _ }: Claim, by: string): void {
    const known = this.#jobs.get(job)
    if (!known) return this.#fail(job, 'a claim of a job that nobody offered')
    this.figures.claims += 1
    this.note(job, `${type} ${fence} by ${by}`)
    if (known.told > 0) this.#fail(job, 'claimed after its end was told')
    if (fence <= known.fence) this.#fail(job, `claim ${fence} comes after ${known.fence}`)
    if (type === 'start' && known.isPromptAccepted)
      this.#fail(job, 'started elsewhere after its prompt was accepted')
    if (type === 'resume') this.figures.resumed += 1
    if (type === 'start' && this.#time.now < known.leaseUntil && known.settled !== known.fence)
      this.note(job, 'the lease before was taken back')
    known.fence = fence
    known.leaseUntil = this.#time.now + this.#leaseMs
  }

  beaten({ job, fence }: Fence, phase: string, answer: BeatAnswer): void {
    const known = this.#jobs.get(job)
    if (!known || answer.type === 'lost') {
      this.figures.lost += 1
      return
    }
    this.figures.beats += 1
    this.#mayWrite(known, job, fence)
    if (phase === 'prompted' && !answer.isCancelled && !known.isPromptAccepted) {
      known.isPromptAccepted = true
      this.note(job, `prompt of claim ${fence} accepted`)
    }
    known.leaseUntil = this.#time.now + this.#leaseMs
  }

  settled({ job, fence }: Fence, settlement: Settlement, isHeld: boolean): void {
    const known = this.#jobs.get(job)
    this.note(job, `claim ${fence} settles ${settlement.type}: ${isHeld ? 'taken' : 'refused'}`)
    if (!known || !isHeld || known.settled === fence) return
    if (settlement.type === 'result' && known.isPromptAccepted) this.#isLatest(known, job, fence)
    else this.#mayWrite(known, job, fence)
    known.settled = fence
    if (settlement.type === 'released' || settlement.type === 'notStarted') known.isPromptAccepted = false
  }

  #isLatest(known: Known, job: string, fence: number): void {
    if (fence !== known.fence) this.#fail(job, `claim ${fence} wrote after claim ${known.fence}`)
  }

  #mayWrite(known: Known, job: string, fence: number): void {
    this.#isLatest(known, job, fence)
    if (this.#time.now >= known.leaseUntil) this.#fail(job, `claim ${fence} wrote after its lease`)
  }

  /** A prompt is sent to an agent. */
  prompted(agent: Agent, machine: string): void {
    const known = this.#jobs.get(agent.job)
    if (!known) return
    this.figures.prompts += 1
    known.prompts += 1
    this.note(agent.job, `prompted at ${machine}`)
    if (known.prompts > 1) this.#fail(agent.job, 'prompted twice')
    if (known.told > 0) this.#fail(agent.job, 'prompted after its end was told')
    this.#agents.add(agent)
  }

  stopped(agent: Agent): void {
    this.#agents.delete(agent)
    this.note(agent.job, 'the agent has stopped')
  }

  /** The queue counts a job, or does not any more. */
  counted(job: string, change: number): void {
    const known = this.#jobs.get(job)
    if (!known || change === 0) return
    const { models, providers, total } = this.#limits
    const limits = [
      ['total', total],
      [known.provider, providers[known.provider] ?? Infinity],
      [known.model, models[known.model] ?? Infinity],
    ] as const
    for (const [name, most] of limits) {
      const count = (this.#counts.get(name) ?? 0) + change
      this.#counts.set(name, count)
      this.most.set(name, Math.max(count, this.most.get(name) ?? 0))
      if (count > most) this.#fail(job, `${count} jobs of ${name}, whose limit is ${most}`)
    }
    if (change > 0) return
    // An agent whose worker died works on until that is back. One whose worker lives has stopped before.
    for (const agent of this.#agents)
      if (agent.job === job && agent.isWatched())
        this.#fail(job, 'the queue gave up a job whose agent works under a worker that lives')
  }

  told(job: string, state: JobState | undefined): void {
    const known = this.#jobs.get(job)
    if (!known) return
    known.told += 1
    this.figures.told += 1
    const end = endOf(state)
    this.ends.set(end, (this.ends.get(end) ?? 0) + 1)
    this.note(job, `told: ${end}`)
    if (known.told > 1) this.#fail(job, 'told twice')
    if (/never prompted|before its agent|never offered/.test(end) && known.prompts > 0)
      this.#fail(job, `told as "${end}", and it was prompted`)
    if (end === 'completed' && known.prompts === 0) this.#fail(job, 'has a result without a prompt')
  }

  /** The jobs whose end was not told. */
  untold(): string[] {
    return [...this.#jobs].filter(([, { told }]) => told === 0).map(([job]) => job)
  }

  #fail(job: string, what: string): void {
    this.note(job, `VIOLATION: ${what}`)
    this.violation ??= `${job}: ${what}\n${this.#jobs.get(job)?.history.join('\n') ?? ''}`
  }

  /** Says that a job has not come to its end. */
  failUntold(job: string): void {
    this.#fail(job, 'its end was never told')
  }
}

/** The kind of an end, without names. */
function endOf(state: JobState | undefined): string {
  if (state?.type !== 'ended') return 'never offered'
  if (state.result !== undefined) return (state.result as { readonly outcome: string }).outcome
  return (state.why ?? 'no reason').replace(/worker \S+/g, 'worker').replace(/;.*|: \d+ claims.*/, '')
}
