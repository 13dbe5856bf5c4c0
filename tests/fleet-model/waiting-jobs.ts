/**
 * The jobs that wait for a worker, and how many take up room in the limits. The cost of a claim does not grow with their
 * number.
 */
import type { FleetLimits } from '../../src/fleet/port.ts'
import { countedAt, type Job } from './job.ts'

/** The jobs of one provider, one model and the same labels: what holds for one holds for all, but for who could not start it. */
interface Group {
  readonly limits: readonly { readonly counter: string; readonly most: number }[]
  /** Jobs that no worker has claimed yet, in the order of their offers. */
  readonly fresh: Map<string, Entry>
  /** Jobs that a worker has given back, in the order of their offers. They are few, and sorted again at each return. */
  returned: Map<string, Entry>
}

interface Entry {
  readonly job: Job
  readonly order: number
}

export class WaitingJobs {
  readonly #limits: FleetLimits
  readonly #groups = new Map<string, Group>()
  readonly #counts = new Map<string, number>()
  /** By key: the place of a job in the queue, which it keeps when it comes back. */
  readonly #orders = new Map<string, number>()

  constructor(limits: FleetLimits) {
    this.#limits = limits
  }

  countOf(kind: 'total' | 'provider' | 'model', name = ''): number {
    return this.#counts.get(`${kind} ${name}`) ?? 0
  }

  /** Records a change of a job. */
  update(before: Job | undefined, now: Job): void {
    const change = countOf(now) - (before ? countOf(before) : 0)
    if (change !== 0)
      for (const { counter } of this.#limitsOf(now)) {
        this.#counts.set(counter, (this.#counts.get(counter) ?? 0) + change)
      }
    if (now.status.type === 'waiting') this.#wait(now)
    else if (before?.status.type === 'waiting') {
      const group = this.#groupOf(now)
      group.fresh.delete(now.key)
      group.returned.delete(now.key)
    }
  }

  /** Returns the first job that the limits allow and that `isFit`. */
  find(isFit: (job: Job) => boolean): Job | undefined {
    let first: Entry | undefined
    for (const { fresh, limits, returned } of this.#groups.values()) {
      if (limits.some(({ counter, most }) => (this.#counts.get(counter) ?? 0) >= most)) continue
      for (const jobs of [returned, fresh]) {
        const found = firstOf(jobs, isFit)
        if (found && (!first || found.order < first.order)) first = found
      }
    }
    return first?.job
  }

  #wait(now: Job): void {
    const group = this.#groupOf(now)
    const known = this.#orders.get(now.key)
    const order = known ?? this.#orders.size
    this.#orders.set(now.key, order)
    const entry = { job: now, order }
    if (known === undefined || group.fresh.has(now.key)) group.fresh.set(now.key, entry)
    else group.returned = byPlace([...group.returned.set(now.key, entry)])
  }

  #groupOf(job: Job): Group {
    const { labels, model, provider } = job.offer
    const name = JSON.stringify([provider, model, labels.toSorted()])
    const group = this.#groups.get(name) ?? {
      limits: this.#limitsOf(job),
      fresh: new Map(),
      returned: new Map(),
    }
    this.#groups.set(name, group)
    return group
  }

  #limitsOf({ offer: { model, provider } }: Job): Group['limits'] {
    const { models, providers, total } = this.#limits
    return [
      { counter: 'total ', most: total },
      ...(provider === undefined
        ? []
        : [{ counter: `provider ${provider}`, most: providers[provider] ?? Infinity }]),
      ...(model === undefined ? [] : [{ counter: `model ${model}`, most: models[model] ?? Infinity }]),
    ]
  }
}

function byPlace(jobs: readonly (readonly [string, Entry])[]): Map<string, Entry> {
  return new Map(jobs.toSorted(([, one], [, other]) => one.order - other.order))
}

function firstOf(jobs: ReadonlyMap<string, Entry>, isFit: (job: Job) => boolean): Entry | undefined {
  for (const entry of jobs.values()) {
    if (isFit(entry.job)) return entry
    // Another job of the group is no fitter, unless this one alone is kept from the worker.
    if (entry.job.status.type === 'waiting' && !entry.job.status.failure) return undefined
  }
  return undefined
}

function countOf(job: Job): number {
  return countedAt(job) === undefined ? 0 : 1
}
