/**
 * Who may run now. Limits nest from the particular to the general: work waits for a slot of its model, then of its
 * provider, then of all, so that what waits for a particular slot holds no general one. A slot belongs to the work, and
 * is free again only when the promise of the work has settled, which is when it has really stopped.
 */
import PQueue from 'p-queue'
import type { Options } from '../config.ts'
import type { TaskModel } from '../task/task.ts'
import { FairQueue, type FairOptions } from './fair-queue.ts'

export type Limits = Pick<Options['concurrency'], 'total' | 'providers' | 'models'>

/** What decides when work may run. */
export interface QueueEntry {
  readonly id: string
  readonly parentID: string
  /** Absent where there is none, or the host will choose it; only the limit on all holds then. */
  readonly model?: TaskModel
}

type FairPQueue = PQueue<FairQueue, FairOptions>

export class Queue {
  readonly #total: FairPQueue
  readonly #providers: Map<string, FairPQueue>
  readonly #models: ReadonlyMap<string, FairPQueue>
  /** Providers that pause again with their next start. */
  readonly #probes = new Set<string>()
  /** Work that has not started, and the queue in which it waits. */
  readonly #waiting = new Map<string, { readonly controller: AbortController; queue: FairPQueue }>()

  constructor({ total, providers, models }: Limits) {
    this.#total = queueOf(total)
    this.#providers = queuesOf(providers)
    this.#models = queuesOf(models)
  }

  /** Runs `work` when its turn comes. `work` deals with its own errors. */
  add({ id, parentID, model }: QueueEntry, work: () => Promise<void>): void {
    const waiting = { controller: new AbortController(), queue: this.#total }
    const { signal } = waiting.controller
    this.#waiting.set(id, waiting)
    const start = async (): Promise<void> => {
      // From here on p-queue's signal must stay silent: aborted while the work runs, it would give the slots away
      // although the work goes on.
      this.#waiting.delete(id)
      await work()
    }
    const ofModel = model && this.#models.get(`${model.providerID}/${model.modelID}`)
    const ofProvider = model && this.#provider(model.providerID)
    const queues = [ofModel, ofProvider, this.#total].flatMap((queue) => queue ?? [])
    const run = queues.reduceRight<() => Promise<unknown>>((inner, queue) => {
      return () => {
        waiting.queue = queue
        const next = queue === ofProvider ? () => this.#leave(model?.providerID ?? '', inner) : inner
        return queue.add(next, { id, parentID, signal })
      }
    }, start)
    run().catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }

  /** Takes work out of the queue; false where it runs already, or was never there. */
  remove(id: string): boolean {
    const waiting = this.#waiting.get(id)
    if (!waiting) return false
    this.#waiting.delete(id)
    waiting.controller.abort()
    return true
  }

  /** Starts nothing more on a provider, whoever waits; what runs goes on. */
  pause(providerID: string): void {
    this.#provider(providerID).pause()
  }

  resume(providerID: string): void {
    this.#probes.delete(providerID)
    this.#provider(providerID).start()
  }

  /** Starts one more on a provider that pauses, now or as soon as there is one. */
  probe(providerID: string): void {
    this.#probes.add(providerID)
    this.#provider(providerID).start()
  }

  /** Work has had its turn on a provider: one that was probed pauses with it. */
  #leave(providerID: string, inner: () => Promise<unknown>): Promise<unknown> {
    if (this.#probes.delete(providerID)) this.pause(providerID)
    return inner()
  }

  /** The queue of a provider, which has no limit of its own unless one is set. */
  #provider(providerID: string): FairPQueue {
    const known = this.#providers.get(providerID)
    if (known) return known
    const queue = queueOf(Number.POSITIVE_INFINITY)
    this.#providers.set(providerID, queue)
    return queue
  }

  /** How many start before this one, where it waits now; `undefined` where it does not wait. */
  placeOf(id: string): number | undefined {
    return this.#waiting.get(id)?.queue.sizeBy({ id })
  }
}

function queuesOf(limits: Readonly<Record<string, number>>): Map<string, FairPQueue> {
  return new Map(Object.entries(limits).map(([name, concurrency]) => [name, queueOf(concurrency)]))
}

function queueOf(concurrency: number): FairPQueue {
  return new PQueue<FairQueue, FairOptions>({ concurrency, queueClass: FairQueue })
}
