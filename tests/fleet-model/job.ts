/** A job of the queue: its status, and what its launcher and its workers see of it. `rules.ts` changes it. Pure. */
import type { JobState, Offer } from '../../src/fleet/launcher/jobs.ts'
import type { Message, WorkerProcess } from '../../src/fleet/port.ts'

export type Holder = Pick<WorkerProcess, 'name' | 'identity' | 'process'>

/** The facts of a claim. */
export interface Held {
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

export type Status =
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

/** Returns the messages that the next beat brings. */
export function unheard(job: HeldJob): Message[] {
  if (job.status.type === 'starting') return []
  return unheardOf(job).map(({ id, text }) => ({ id, text }))
}

function unheardOf({ messages }: Job): Job['messages'] {
  return messages.filter(({ state }) => state === 'unheard')
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
export function isCurrent(job: Job, fence: number): job is CountedJob {
  return job.fence === fence && isCounted(job)
}

export function isHeld(job: Job, fence: number, now: number): job is HeldJob {
  return isCurrent(job, fence) && isClaimed(job) && now < job.status.leaseUntil
}

function isClaimed(job: Job): job is HeldJob {
  const { type } = job.status
  return type === 'starting' || type === 'prompted' || type === 'resumed'
}

export function isCounted(job: Job): job is CountedJob {
  return isClaimed(job) || job.status.type === 'lapsed'
}

export function isOf(job: Job, { name, identity }: Holder): job is CountedJob {
  return isCounted(job) && job.status.worker.name === name && job.status.worker.identity === identity
}
