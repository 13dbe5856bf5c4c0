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
import {
  isCurrent,
  isHeld,
  isOf,
  type Held,
  type HeldJob,
  type Holder,
  type Job,
  type Status,
} from './job.ts'
import type { Beat, ClaimRequest, FleetTimes, Message, Settlement } from '../../src/fleet/port.ts'

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
