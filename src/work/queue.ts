/**
 * Limits concurrent work. Work waits for a slot of its machine, then of its model, of its provider, and of the total, so
 * that work that waits for a specific slot holds no general one. A slot is freed only when the promise of its
 * work settles, which is when the work has really stopped.
 */
import PQueue from 'p-queue'
import type { Options } from '../config.ts'
import type { TaskModel } from '../task/state.ts'
import { FairQueue, type FairOptions } from './fair-queue.ts'

export interface Limits extends Pick<Options['concurrency'], 'total' | 'providers' | 'models'> {
  /** The slots of other machines, by name. */
  readonly machines?: Readonly<Record<string, number>>
}

/** The properties that decide when work may run. */
export interface QueueEntry {
  readonly id: string
  readonly parentID: string
  /** Absent if the work has no model, or OpenCode will choose it; then only the total limit applies. */
  readonly model?: TaskModel
  /** Absent if the work is done here. */
  readonly place?: { readonly type: 'machine'; readonly name: string } | { readonly type: 'fleet' }
}

type FairPQueue = PQueue<FairQueue, FairOptions>

export class Queue {
  readonly #total: FairPQueue
  readonly #providers: Map<string, FairPQueue>
  readonly #models: ReadonlyMap<string, FairPQueue>
  readonly #machines: ReadonlyMap<string, FairPQueue>
  /** Paused providers that were opened for a single start. */
  readonly #probes = new Set<string>()
  /** Work that has not started, by id, with the queue in which it waits. */
  readonly #waiting = new Map<string, { readonly controller: AbortController; queue: FairPQueue }>()

  constructor({ total, providers, models, machines = {} }: Limits) {
    this.#total = queueOf(total)
    this.#providers = queuesOf(providers)
    this.#models = queuesOf(models)
    this.#machines = queuesOf(machines)
  }

  /** Runs `work` when it gets its slots. `work` must handle its own errors. */
  add({ id, parentID, model, place }: QueueEntry, work: () => Promise<void>): void {
    const waiting = { controller: new AbortController(), queue: this.#total }
    const { signal } = waiting.controller
    this.#waiting.set(id, waiting)
    const start = async (): Promise<void> => {
      // From here on the signal must not abort, because p-queue would free the slots of work that still runs.
      this.#waiting.delete(id)
      await work()
    }
    const ofModel = model && this.#models.get(`${model.providerID}/${model.modelID}`)
    const ofProvider = model && this.#provider(model.providerID)
    const ofMachine = place?.type === 'machine' ? this.#machines.get(place.name) : undefined
    const queues = [ofMachine, ofModel, ofProvider, this.#total].flatMap((queue) => queue ?? [])
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

  /** Removes waiting work; returns false if it has started or was never queued. */
  remove(id: string): boolean {
    const waiting = this.#waiting.get(id)
    if (!waiting) return false
    this.#waiting.delete(id)
    waiting.controller.abort()
    return true
  }

  /** Starts no more work on a provider; running work continues. */
  pause(providerID: string): void {
    this.#provider(providerID).pause()
  }

  resume(providerID: string): void {
    this.#probes.delete(providerID)
    this.#provider(providerID).start()
  }

  /** Starts one more task on a paused provider, now or as soon as one waits. */
  probe(providerID: string): void {
    this.#probes.add(providerID)
    this.#provider(providerID).start()
  }

  /** Runs work that got its slot of a provider, and pauses the provider again if it was probed. */
  #leave(providerID: string, inner: () => Promise<unknown>): Promise<unknown> {
    if (this.#probes.delete(providerID)) this.pause(providerID)
    return inner()
  }

  /** Returns the queue of a provider, which is unlimited unless the options limit it. */
  #provider(providerID: string): FairPQueue {
    const known = this.#providers.get(providerID)
    if (known) return known
    const queue = queueOf(Number.POSITIVE_INFINITY)
    this.#providers.set(providerID, queue)
    return queue
  }

  /** Returns how many start before this work in its current queue; `undefined` if it does not wait. */
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
