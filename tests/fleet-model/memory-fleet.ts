/**
 * A queue of a fleet in the memory of one process: the model of the one in PostgreSQL, for tests and for the simulation. It forgets
 * nothing, and keeps to `rules.ts`.
 */
import type { Clock } from '../../src/clock.ts'
import type { Jobs, JobState } from '../../src/fleet/launcher/jobs.ts'
import {
  LOST,
  PROTOCOL,
  type Claim,
  type ClaimAnswer,
  type ClaimRequest,
  type Claims,
  type ClaimsChange,
  type Fleet,
  type FleetLimits,
  type FleetTimes,
  type WorkerProcess,
} from '../../src/fleet/port.ts'
import { sizeOf } from '../../src/fleet/call-within.ts'
import { countedAt, isFor, isForgotten, newJob, refusedJob, stateOf, unheard, type Job } from './job.ts'
import * as rules from './rules.ts'
import { WaitingJobs } from './waiting-jobs.ts'

interface KnownWorker {
  readonly identity: string
  readonly process: string
  /** The processes before this one, on each disk. */
  readonly replaced: readonly string[]
  /** The number of its last request. */
  readonly number: number
  readonly heardAt: number
}

/** Interval of checking the leases. */
const SWEEP_MS = 5000

export class MemoryFleet implements Fleet {
  readonly #clock: Clock
  readonly #onChange: (before: Job | undefined, now: Job) => void
  readonly #times: FleetTimes
  readonly #jobs = new Map<string, Job>()
  readonly #waiting: WaitingJobs
  /** The keys of the jobs that take up room, by the name of their worker. */
  readonly #counted = new Map<string, Set<string>>()
  readonly #workers = new Map<string, KnownWorker>()
  /** By provider: until when it holds back its jobs. */
  readonly #backoffs = new Map<string, number>()
  /** By the owner. */
  readonly #launchers = new Map<string, Set<() => void>>()
  readonly #workersWatching = new Set<(change: ClaimsChange) => void>()
  #cancelSweep: (() => void) | undefined

  /** @param onChange called with each job that has changed */
  constructor(
    clock: Clock,
    times: FleetTimes,
    limits: FleetLimits,
    onChange: (before: Job | undefined, now: Job) => void = () => {},
  ) {
    this.#onChange = onChange
    this.#clock = clock
    this.#times = times
    this.#waiting = new WaitingJobs(limits)
  }

  launcher(owner: string): Jobs {
    const keyOf = (id: string): string => `${owner}/${id}`
    const change = (id: string, rule: (job: Job) => Job | undefined): boolean => {
      const next = this.#change(keyOf(id), rule)
      if (next) this.#tellWorkers({ type: 'asked', job: next.key })
      return next !== undefined
    }
    return {
      offer: async (offer) => {
        if (this.#jobs.has(keyOf(offer.id))) return
        this.#put(newJob(keyOf(offer.id), owner, offer))
        this.#tellWorkers({ type: 'offered' })
      },
      states: async (ids) => {
        const states = ids.map((id): readonly [string, JobState | undefined] => {
          const job = this.#jobs.get(keyOf(id))
          return [id, job && stateOf(job, this.#clock.now())]
        })
        return new Map(states.filter((entry): entry is [string, JobState] => entry[1] !== undefined))
      },
      cancel: async (id) => {
        const known = this.#jobs.get(keyOf(id))
        if (known) change(id, (job) => rules.cancel(job, this.#clock.now()))
        else this.#put(refusedJob(keyOf(id), owner, id))
        return known !== undefined && !isForgotten(known)
      },
      say: async (id, message) => change(id, (job) => rules.say(job, message)),
      acknowledge: async (id) => void this.#change(keyOf(id), rules.acknowledge),
      watch: (onChange, signal) => {
        const watchers = this.#launchers.get(owner) ?? new Set()
        this.#launchers.set(owner, watchers)
        watch(watchers, onChange, signal)
      },
    }
  }

  readonly claims: Claims = {
    claim: async (request) => {
      const answer = this.#admit(request)
      if (answer) return answer
      this.#reconcile(request)
      return this.#resumed(request) ?? this.#claimed(request) ?? { type: 'none' }
    },
    payload: async ({ job, fence }) => {
      const known = this.#jobs.get(job)
      if (known?.fence !== fence || countedAt(known) === undefined) throw new Error(LOST)
      return known.offer.payload
    },
    beat: async ({ job, fence }, beat) => {
      const now = this.#clock.now()
      const { backoff } = beat
      const held = this.#change(job, (known) => rules.beat(known, fence, beat, now, this.#times))
      if (!held) return { type: 'lost' }
      const { cancelledAt, worker } = held.status
      const known = this.#workers.get(worker.name)
      if (known?.process === worker.process) this.#workers.set(worker.name, { ...known, heardAt: now })
      if (backoff) {
        const until = this.#backoffs.get(backoff.provider) ?? 0
        this.#backoffs.set(backoff.provider, Math.max(until, now + backoff.forMs))
      }
      return { type: 'held', isCancelled: cancelledAt !== undefined, messages: unheard(held) }
    },
    settle: async ({ job, fence }, settlement) => {
      const now = this.#clock.now()
      if (this.#jobs.get(job)?.settled === fence) return true
      return (
        this.#change(job, (known) => rules.settle(known, fence, settlement, now, this.#times)) !== undefined
      )
    },
    watch: (onChange, signal) => watch(this.#workersWatching, onChange, signal),
  }

  /** How many jobs take up room: of a provider, of a model, or all. */
  countOf(kind: 'total' | 'provider' | 'model', name = ''): number {
    return this.#waiting.countOf(kind, name)
  }

  /** Applies all time limits that have passed. */
  sweep(): void {
    const now = this.#clock.now()
    for (const keys of this.#counted.values())
      for (const key of keys) this.#change(key, (job) => rules.lapse(job, now, this.#times))
  }

  close(): void {
    this.#cancelSweep?.()
  }

  /** Returns why a worker may not claim; `undefined` if it may. */
  #admit({ worker, number }: ClaimRequest): ClaimAnswer | undefined {
    const now = this.#clock.now()
    if (worker.protocol !== PROTOCOL)
      return {
        type: 'refused',
        why: `the queue speaks protocol ${PROTOCOL}, this worker ${worker.protocol}: install one version everywhere`,
      }
    const known = this.#workers.get(worker.name)
    const isOther = known !== undefined && known.identity !== worker.identity
    if (isOther && now - known.heardAt < this.#times.leaseMs)
      return {
        type: 'refused',
        why: `another worker is named ${worker.name}: start this one with another --name`,
      }
    if (known?.replaced.includes(worker.process)) return { type: 'replaced' }
    if (known && known.process === worker.process && number <= known.number) return { type: 'none' }
    const replaced = known?.replaced ?? []
    const isLater = known && known.process !== worker.process
    this.#workers.set(worker.name, {
      identity: worker.identity,
      process: worker.process,
      // Also those on another disk: a request of one that is dead may come when its disk has the name again.
      replaced: isLater ? [...replaced, known.process] : replaced,
      number,
      heardAt: now,
    })
    return undefined
  }

  /** Gives up the worker's claims that it no longer holds, except those that it may resume. */
  #reconcile(request: ClaimRequest): void {
    const { worker, holding } = request
    const now = this.#clock.now()
    const fences = new Map(holding.map(({ job, fence }) => [job, fence]))
    for (const key of this.#counted.get(worker.name) ?? [])
      this.#change(key, (job) => rules.giveUp(job, request, fences.get(key), now, this.#times))
  }

  #resumed({ worker, holding }: ClaimRequest): ClaimAnswer | undefined {
    const now = this.#clock.now()
    const fences = new Map(holding.map(({ job, fence }) => [job, fence]))
    for (const key of this.#counted.get(worker.name) ?? []) {
      const job = this.#change(key, (known) => rules.resume(known, worker, fences.get(key), now, this.#times))
      if (job) return { type: 'claimed', claim: this.#claimOf(job, 'resume') }
    }
    return undefined
  }

  #claimed({ worker, wants }: ClaimRequest): ClaimAnswer | undefined {
    const now = this.#clock.now()
    const inUse = this.#counted.get(worker.name)?.size ?? 0
    if (wants !== 'any' || inUse >= worker.slots) return undefined
    const found = this.#findFor(worker, now)
    if (found === undefined) return undefined
    const job = this.#change(found, (known) => rules.claim(known, worker, now, this.#times))
    return job && { type: 'claimed', claim: this.#claimOf(job, 'start') }
  }

  #findFor(worker: WorkerProcess, now: number): string | undefined {
    return this.#waiting.find((job) => {
      const { provider } = job.offer
      const isHeldBack = provider !== undefined && (this.#backoffs.get(provider) ?? 0) > now
      return !isHeldBack && isFor(job, worker, now)
    })?.key
  }

  #claimOf({ key, offer, owner, fence, failures }: Job, type: Claim['type']): Claim {
    const { payload, ...rest } = offer
    const of = { job: key, fence, offer: rest, payloadBytes: sizeOf(payload), owner }
    return { type, ...of, attempt: failures + 1, leaseMs: this.#times.leaseMs }
  }

  #change<Next extends Job>(key: string, rule: (job: Job) => Next | undefined): Next | undefined {
    const job = this.#jobs.get(key)
    const next = job && rule(job)
    if (next) this.#put(next)
    return next
  }

  /** The only writer. */
  #put(job: Job): void {
    const before = this.#jobs.get(job.key)
    this.#jobs.set(job.key, job)
    this.#waiting.update(before, job)
    this.#onChange(before, job)
    const [was, is] = [before && countedAt(before), countedAt(job)]
    if (was !== undefined && was !== is) this.#counted.get(was)?.delete(job.key)
    if (is !== undefined && was !== is) {
      const keys = this.#counted.get(is) ?? new Set()
      this.#counted.set(is, keys.add(job.key))
    }
    if (before?.status.type !== job.status.type)
      for (const onChange of this.#launchers.get(job.owner) ?? []) onChange()
    if (is !== undefined) this.#cancelSweep ??= this.#clock.after(SWEEP_MS, () => this.#sweepOn())
  }

  #sweepOn(): void {
    this.#cancelSweep = undefined
    this.sweep()
    if (this.countOf('total') > 0) this.#cancelSweep ??= this.#clock.after(SWEEP_MS, () => this.#sweepOn())
  }

  #tellWorkers(change: ClaimsChange): void {
    for (const onChange of this.#workersWatching) onChange(change)
  }
}

function watch<Watcher>(watchers: Set<Watcher>, onChange: Watcher, signal: AbortSignal): void {
  if (signal.aborted) return
  watchers.add(onChange)
  signal.addEventListener('abort', () => watchers.delete(onChange))
}
