/**
 * The state machine of a job. Each function returns the job after an event, or `undefined` for an event that came too late and
 * changes nothing. Pure; `now` is of the queue's clock.
 *
 * A result also ends a lapsed job.
 *
 *                    settle 'released', 'notStarted' / lease out (at most `attempts` times)
 *         ┌──────────────────────────┬──────────────────┐
 *         ↓                          │                  │ settle only
 *   waiting ──claim──→ starting ──beat 'prompted'──→ prompted ──lease out──→ lapsed ──claim of the same worker──→ resumed
 *      │                  │                             │                      │ ↑                                  │
 *      └───────────────── ┴──────────→ ended ←──────────┴──────────────────────┘ └────────── lease out ─────────────┘
 *                                        │
 *                                        └──acknowledge──→ forgotten
 */
import type { JobState, Offer } from './launcher/jobs.ts'
import type { Beat, ClaimRequest, FleetTimes, Message, Settlement, WorkerProcess } from './port.ts'

export type Holder = Pick<WorkerProcess, 'name' | 'identity' | 'process'>

/** The facts of a claim. */
interface Held {
  readonly worker: Holder
  readonly leaseUntil: number
  readonly heardAt: number
  readonly report?: object
  readonly checkpoint?: object
  /** When the launcher asked for an end. */
  readonly cancelledAt?: number
}

export type HeldStatus = Held & { readonly type: 'starting' | 'prompted' | 'resumed' }

/** The lease of a worker has run out after the agent was prompted: that worker alone may have it. */
type LapsedStatus = Held & { readonly type: 'lapsed'; readonly resumeUntil: number }

type Status =
  | {
      readonly type: 'waiting'
      /** The worker that was last to fail to start it, why, and until when others come first. */
      readonly failure?: { readonly worker: string; readonly why: string; readonly until: number }
    }
  | HeldStatus
  | LapsedStatus
  | (Extract<JobState, { readonly type: 'ended' }> & { readonly checkpoint?: object })
  | { readonly type: 'forgotten' }

export interface Job {
  /** Unique over all owners. */
  readonly key: string
  readonly owner: string
  readonly offer: Offer
  /** The number of the last claim. */
  readonly fence: number
  /** The last claim that its worker has settled: a repeated settlement is no news. */
  readonly settled?: number
  /** The claims that did not start the agent. */
  readonly failures: number
  /** For the agent, in their order. */
  readonly messages: readonly (Message & { readonly state: 'unheard' | 'heard' })[]
  readonly status: Status
}

export type HeldJob = Job & { readonly status: HeldStatus }
type CountedJob = Job & { readonly status: HeldStatus | LapsedStatus }

export function newJob(key: string, owner: string, offer: Offer): Job {
  return { key, owner, offer, fence: 0, failures: 0, messages: [], status: { type: 'waiting' } }
}

/** Returns a job that was cancelled before its offer arrived, so that the offer starts nothing. */
export function refusedJob(key: string, owner: string, id: string): Job {
  return { ...newJob(key, owner, { id, labels: [], payload: {} }), status: { type: 'forgotten' } }
}

/** Returns whether the queue knows no more of a job than that it is not offered again. */
export function isForgotten({ status }: Job): boolean {
  return status.type === 'forgotten'
}

/** Returns the worker in whose slots, and in whose limits, a job counts; `undefined` for one that takes up no room. */
export function countedAt(job: Job): string | undefined {
  return isCounted(job) ? job.status.worker.name : undefined
}

/** Returns whether a worker may claim a job, apart from the limits. */
export function isFor({ status, offer }: Job, { name, labels }: WorkerProcess, now: number): boolean {
  if (status.type !== 'waiting' || !offer.labels.every((label) => labels.includes(label))) return false
  return status.failure?.worker !== name || status.failure.until <= now
}

export function claim(job: Job, worker: Holder, now: number, { leaseMs }: FleetTimes): HeldJob | undefined {
  if (job.status.type !== 'waiting') return undefined
  const status = { type: 'starting', worker, leaseUntil: now + leaseMs, heardAt: now } as const
  return { ...job, fence: job.fence + 1, status }
}

/**
 * Takes a claim away from a worker that no longer holds it and runs no agent for it.
 *
 * @param held the claim of the job that the worker holds
 * @param wants as in the request; a process that resumes has prompted no agent
 */
export function giveUp(
  job: Job,
  { wants, worker }: Pick<ClaimRequest, 'wants' | 'worker'>,
  held: number | undefined,
  now: number,
  times: FleetTimes,
): Job | undefined {
  if (!isOf(job, worker)) return undefined
  const { status } = job
  const isItsOwn = status.worker.process === worker.process
  if (isItsOwn && held === job.fence) return undefined
  if (status.type === 'starting')
    return giveBack(job, status, 'it was lost on its way to the worker', now, times)
  // A `resume` whose answer was lost is given again: its agent works on, whether the lease has run out meanwhile or not.
  if (!isItsOwn || wants === 'resumed' || status.type === 'resumed') return undefined
  return interrupt(job, status, `worker ${worker.name} lost the queue for too long, and stopped the agent`)
}

/** Gives a job whose agent was prompted to a process of its worker that does not hold it. Called after `giveUp`. */
export function resume(
  job: Job,
  worker: Holder,
  held: number | undefined,
  now: number,
  { leaseMs }: FleetTimes,
): HeldJob | undefined {
  if (!isOf(job, worker) || job.status.type === 'starting') return undefined
  const { status } = job
  if (status.worker.process === worker.process && held === job.fence) return undefined
  const resumed = { ...status, type: 'resumed', worker, leaseUntil: now + leaseMs, heardAt: now } as const
  return { ...job, fence: job.fence + 1, status: resumed }
}

export function beat(
  job: Job,
  fence: number,
  { phase, report, checkpoint, heard }: Beat,
  now: number,
  { leaseMs }: FleetTimes,
): HeldJob | undefined {
  if (!isHeld(job, fence, now)) return undefined
  const { status } = job
  const begins = status.type === 'starting' && phase === 'prompted' && status.cancelledAt === undefined
  const next = {
    ...status,
    type: begins ? 'prompted' : status.type,
    leaseUntil: now + leaseMs,
    heardAt: now,
    ...(report && { report }),
    ...(checkpoint && { checkpoint }),
  } as const
  return { ...job, messages: heardIn(job, heard), status: next }
}

/** Returns the messages that the next beat brings. */
export function unheard(job: HeldJob): Message[] {
  if (job.status.type === 'starting') return []
  return unheardOf(job).map(({ id, text }) => ({ id, text }))
}

function unheardOf({ messages }: Job): Job['messages'] {
  return messages.filter(({ state }) => state === 'unheard')
}

function heardIn({ messages }: Job, heard: readonly string[] = []): Job['messages'] {
  return messages.map((message) =>
    heard.includes(message.id) ? ({ ...message, state: 'heard' } as const) : message,
  )
}

export function settle(
  job: Job,
  fence: number,
  settlement: Settlement,
  now: number,
  times: FleetTimes,
): Job | undefined {
  // A result says that the agent has stopped: it is taken as long as the job is at its worker, or waits for it.
  const isResult = settlement.type === 'result' && isCurrent(job, fence) && job.status.type !== 'starting'
  if (!isResult && !isHeld(job, fence, now)) return undefined
  const { status } = job
  const worker = status.worker.name
  const next = ((): Job | undefined => {
    switch (settlement.type) {
      case 'result':
        return ended(
          { ...job, messages: heardIn(job, settlement.heard) },
          { worker, result: settlement.result, ...checkpointOf(status) },
        )
      case 'interrupted':
        return interrupt(job, status, settlement.why)
      case 'notStarted':
        if (status.type === 'resumed') return undefined
        return giveBack(job, status, settlement.why, now, times)
      case 'released':
        if (status.type === 'resumed') return undefined
        return status.cancelledAt === undefined ? { ...job, status: { type: 'waiting' } } : unstarted(job)
      case 'cancelled':
        return status.type === 'resumed' || status.cancelledAt === undefined ? undefined : unstarted(job)
    }
  })()
  return next && { ...next, settled: fence }
}

/** Returns a job whose time has come: a lease that ran out, or a worker that did not come back. */
export function lapse(job: Job, now: number, times: FleetTimes): Job | undefined {
  const { status } = job
  switch (status.type) {
    case 'starting':
      if (now < status.leaseUntil) return undefined
      return giveBack(job, status, 'it was not heard of any more', now, times)
    case 'prompted':
    case 'resumed':
      if (now < status.leaseUntil) return undefined
      if (status.cancelledAt !== undefined) return cancelUnseen(job, status)
      return {
        ...job,
        status: { ...status, type: 'lapsed', resumeUntil: status.leaseUntil + times.resumeMs },
      }
    case 'lapsed':
      if (now < status.resumeUntil) return undefined
      return interrupt(job, status, `worker ${status.worker.name} was lost, and did not come back in time`)
    default:
      return undefined
  }
}

export function cancel(job: Job, now: number): Job | undefined {
  const { status } = job
  switch (status.type) {
    case 'waiting':
      return unstarted(job)
    case 'lapsed':
      return cancelUnseen(job, status)
    case 'starting':
    case 'prompted':
    case 'resumed':
      return status.cancelledAt === undefined
        ? { ...job, status: { ...status, cancelledAt: now } }
        : undefined
    default:
      return undefined
  }
}

export function say(job: Job, message: Message): Job | undefined {
  const { messages, status } = job
  if (status.type === 'ended' || status.type === 'forgotten') return undefined
  if (messages.some(({ id }) => id === message.id)) return job
  return { ...job, messages: [...messages, { ...message, state: 'unheard' }] }
}

export function acknowledge(job: Job): Job | undefined {
  if (job.status.type !== 'ended') return undefined
  return { ...job, offer: { ...job.offer, payload: {} }, messages: [], status: { type: 'forgotten' } }
}

/** Returns a job as its launcher sees it; `undefined` for one that was acknowledged. */
export function stateOf(job: Job, now: number): JobState | undefined {
  const { status } = job
  switch (status.type) {
    case 'waiting':
      return status.failure
        ? {
            type: 'waiting',
            note: `worker ${status.failure.worker} could not start it: ${status.failure.why}`,
          }
        : { type: 'waiting' }
    case 'starting':
    case 'prompted':
    case 'resumed':
    case 'lapsed':
      return {
        type: 'claimed',
        worker: status.worker.name,
        isPrompted: status.type !== 'starting',
        silentMs: now - status.heardAt,
        report: status.report,
      }
    case 'ended': {
      const texts = unheardOf(job).map(({ text }) => text)
      return texts.length === 0 ? status : { ...status, unheard: texts }
    }
    case 'forgotten':
      return undefined
  }
}

/** Whether this is the last claim of a job, which has not ended. */
function isCurrent(job: Job, fence: number): job is CountedJob {
  return job.fence === fence && isCounted(job)
}

function isHeld(job: Job, fence: number, now: number): job is HeldJob {
  return isCurrent(job, fence) && isClaimed(job) && now < job.status.leaseUntil
}

function isClaimed(job: Job): job is HeldJob {
  const { type } = job.status
  return type === 'starting' || type === 'prompted' || type === 'resumed'
}

function isCounted(job: Job): job is CountedJob {
  return isClaimed(job) || job.status.type === 'lapsed'
}

function isOf(job: Job, { name, identity }: Holder): job is CountedJob {
  return isCounted(job) && job.status.worker.name === name && job.status.worker.identity === identity
}

function giveBack(job: Job, held: Held, why: string, now: number, times: FleetTimes): Job {
  if (held.cancelledAt !== undefined) return unstarted(job)
  const failures = job.failures + 1
  const worker = held.worker.name
  if (failures >= times.attempts)
    return ended(job, {
      worker,
      why: `its agent was never prompted: ${failures} claims came to nothing; the last, of worker ${worker}: ${why}`,
    })
  return {
    ...job,
    failures,
    status: { type: 'waiting', failure: { worker, why, until: now + times.retryMs } },
  }
}

function unstarted(job: Job): Job {
  return ended(job, { isCancelled: true, why: 'it was cancelled before its agent was prompted' })
}

function cancelUnseen(job: Job, held: Held): Job {
  const worker = held.worker.name
  const why = `it was cancelled, but worker ${worker} was lost: its agent stops when that worker notices`
  return ended(job, { worker, isCancelled: true, why, ...checkpointOf(held) })
}

function interrupt(job: Job, held: Held, why: string): Job {
  const cancelled = held.cancelledAt === undefined ? {} : { isCancelled: true }
  return ended(job, { worker: held.worker.name, why, ...cancelled, ...checkpointOf(held) })
}

function checkpointOf({ checkpoint }: Held): { readonly checkpoint?: object } {
  return checkpoint ? { checkpoint } : {}
}

function ended(job: Job, end: Omit<Extract<Status, { readonly type: 'ended' }>, 'type'>): Job {
  return { ...job, status: { type: 'ended', ...end } }
}
