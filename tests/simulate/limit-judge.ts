/** Whether the limits, the slots of workers and the back-offs of providers hold at each moment. */
import type { FleetLimits, WorkerProcess } from '../../src/fleet/port.ts'
import type { Time } from './sim-clock.ts'
import type { Verdict } from './verdict.ts'

export interface Kind {
  readonly provider: string
  readonly model: string
}

export class LimitJudge {
  /** The most jobs at a time, of all, of each provider, of each model. */
  readonly most = new Map<string, number>()
  readonly #time: Time
  readonly #limits: FleetLimits
  readonly #verdict: Verdict
  readonly #counts = new Map<string, number>()
  readonly #atWorkers = new Map<string, number>()
  /** By provider: until when no worker may claim its jobs. */
  readonly #backoffs = new Map<string, number>()

  constructor(time: Time, limits: FleetLimits, verdict: Verdict) {
    this.#time = time
    this.#limits = limits
    this.#verdict = verdict
  }

  claimed(job: string, { model, provider }: Kind, { name, slots }: WorkerProcess): void {
    const { models, providers, total } = this.#limits
    this.#count(job, 'total', total)
    this.#count(job, provider, providers[provider] ?? Infinity)
    this.#count(job, model, models[model] ?? Infinity)
    const count = (this.#atWorkers.get(name) ?? 0) + 1
    this.#atWorkers.set(name, count)
    const check = this.#verdict.check.bind(this.#verdict)
    check('a worker has no more jobs than slots', job, count <= slots, `${name} has ${count}`)
    const until = this.#backoffs.get(provider) ?? 0
    check('no job of an overloaded provider is claimed', job, until <= this.#time.now, `${provider} is`)
  }

  freed({ model, provider }: Kind, worker: string): void {
    for (const name of ['total', provider, model]) this.#counts.set(name, this.#counts.get(name)! - 1)
    this.#atWorkers.set(worker, this.#atWorkers.get(worker)! - 1)
  }

  overloaded(provider: string, forMs: number): void {
    this.#backoffs.set(provider, Math.max(this.#backoffs.get(provider) ?? 0, this.#time.now + forMs))
  }

  #count(job: string, name: string, limit: number): void {
    const count = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, count)
    this.most.set(name, Math.max(count, this.most.get(name) ?? 0))
    this.#verdict.check('no limit is passed', job, count <= limit, `${count} of ${name}, not ${limit}`)
  }
}
