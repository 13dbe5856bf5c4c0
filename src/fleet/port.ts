/**
 * The queue of a fleet as a port: a launcher sees `Jobs`, a worker sees `Claims`. Five verbs move a job (offer, claim, beat, settle,
 * watch); `cancel` and `say` leave a request, which the next beat of the worker receives. `tests/fleet-model` is the same queue in
 * memory, whose `rules.ts` says what each verb does to one job; both queues pass `tests/fleet-contract`.
 *
 * Every verb is one transaction. A call that rejects may have had its effect, and may even have it later: each verb can be
 * repeated, and a repeated one changes nothing more. All moments are of the queue's clock; only durations cross the wire.
 *
 * Where a worker can die, and what becomes of the job:
 *
 *   | the worker is lost …                                | the job …                                                 |
 *   | --------------------------------------------------- | --------------------------------------------------------- |
 *   | after the claim, before the beat `prompted`         | is started elsewhere when the lease has run out           |
 *   | the beat `prompted` was sent and never arrived      | as above: the prompt is sent after the answer alone       |
 *   | it arrived, its answer did not                      | waits for this worker, then ends `interrupted`: nobody    |
 *   |                                                     | else can know that the prompt was never sent              |
 *   | after the answer, before or after the prompt        | as above                                                  |
 *   | at work, between two checkpoints                    | as above, with the last checkpoint                        |
 *   | after the agent's end, before `settle` arrived      | as above; this worker finds the end in its session, and   |
 *   |                                                     | settles after its next claim; a process that lives keeps  |
 *   |                                                     | the result, and settles when the queue answers            |
 *   | `settle` arrived, its answer did not                | has ended; the repeated `settle` says so                  |
 */
import type { Jobs, Offer } from './launcher/jobs.ts'

/** A worker of an older protocol would misread what it is given: its claims are refused. */
export const PROTOCOL = 2

/** Why the payload of a claim is not read. */
export const LOST = 'the claim is lost'

/** A process of a worker. */
export interface WorkerProcess {
  /** The name that people use. No two living workers share it. */
  readonly name: string
  /** Survives a restart: it is stored on the worker's disk, beside the sessions of its agents. */
  readonly identity: string
  /** Different for each process. */
  readonly process: string
  readonly protocol: number
  readonly labels: readonly string[]
  readonly slots: number
}

/** One claim of a job: its name at the queue, and the number of the claim. A later claim has a greater number. */
export interface Fence {
  /** Unique over all owners. */
  readonly job: string
  readonly fence: number
}

export interface Claim extends Fence {
  /**
   * `start`: the agent was not prompted. `resume`: an earlier process of this worker may have prompted it; the prompt is not
   * sent a second time, whatever is found.
   */
  readonly type: 'start' | 'resume'
  /** As it was offered, without its payload, which `Claims.payload` reads. */
  readonly offer: Omit<Offer, 'payload'>
  /** About how many bytes the payload has. */
  readonly payloadBytes: number
  /** By the connection of the launcher, never by what it offered. */
  readonly owner: string
  /** 1 for the first worker that is to start it. */
  readonly attempt: number
  /** The lease runs out this long after the queue has received the last beat that it answered with `held`. */
  readonly leaseMs: number
}

/** What a worker asks for. */
export interface ClaimRequest {
  readonly worker: WorkerProcess
  /** Greater than in each earlier request of this process: a request that was overtaken on its way does nothing. */
  readonly number: number
  /** All claims of this process, including those that it gives up, until it has stopped their agents. */
  readonly holding: readonly Fence[]
  /** A worker that drains takes no new job. */
  readonly wants: 'any' | 'resumed'
}

export type ClaimAnswer =
  | { readonly type: 'claimed'; readonly claim: Claim }
  | { readonly type: 'none' }
  /** The worker cannot take part as it is: `why` says what to do. It may ask again. */
  | { readonly type: 'refused'; readonly why: string }
  /** A later process of this worker has begun: this one stops its agents and ends. */
  | { readonly type: 'replaced' }

/** A message for an agent. */
export interface Message {
  readonly id: string
  readonly text: string
}

/** A sign of life of one claim. */
export interface Beat {
  /** `prompted`: the prompt is about to be sent, or was sent. It is sent only once the queue has answered this with `held`. */
  readonly phase: 'starting' | 'prompted'
  /** The progress of the agent, which the launcher shows. JSON. */
  readonly report?: object
  /** Replaces the last one. JSON. */
  readonly checkpoint?: object
  /** A provider that refuses requests for now: no worker claims a job of it meanwhile. */
  readonly backoff?: { readonly provider: string; readonly forMs: number }
  /** The ids of the messages that the agent has: the queue does not bring them again. */
  readonly heard: readonly string[]
}

export type BeatAnswer =
  /** The claim is no more: the worker stops the agent, and writes nothing. */
  | { readonly type: 'lost' }
  | {
      readonly type: 'held'
      /**
       * Whether the launcher has cancelled the job. Then no prompt is sent any more: a `prompted` that gets this answer was not
       * accepted.
       */
      readonly isCancelled: boolean
      /** Messages that were not heard, in their order; none before the agent was prompted. */
      readonly messages: readonly Message[]
    }

/** How a worker ends a claim. */
export type Settlement =
  /** The agent has stopped. The result is JSON; `heard` as in a beat. */
  | { readonly type: 'result'; readonly result: object; readonly heard?: readonly string[] }
  /** The prompt was not sent, and this worker cannot start the job: another one may, up to a number of attempts. */
  | { readonly type: 'notStarted'; readonly why: string }
  /** The prompt was not sent, and the worker goes away: the job is as before its claim. */
  | { readonly type: 'released' }
  /** The prompt was not sent, because the launcher wants an end. */
  | { readonly type: 'cancelled' }
  /** The prompt may have been sent, and nothing more can be found of the run. */
  | { readonly type: 'interrupted'; readonly why: string }

export type ClaimsChange =
  /** There may be a job to claim. */
  | { readonly type: 'offered' }
  /** The next beat of a job brings something of its launcher. */
  | { readonly type: 'asked'; readonly job: string }

/** The part of the queue that a worker uses. Each verb rejects if the queue does not answer. */
export interface Claims {
  /**
   * Takes a job for a worker, within the nested limits (all, provider, model, slots of the worker) and the back-offs of providers,
   * in one transaction. Before that it compares the worker's claims with `holding`. A job that the worker no longer holds is
   *
   * - given back, if its agent was not prompted: it waits again, and the attempt counts,
   * - claimed again as a `resume`, with a greater fence, if an earlier process of the worker had it,
   * - `interrupted`, if this process had prompted its agent: it has lost its lease, and has stopped the agent. A process that
   *   wants `resumed` has prompted none: it is given a `resume` again whose answer was lost.
   *
   * Workers are refused that speak another protocol, and whose name another worker has that is alive.
   */
  claim(request: ClaimRequest): Promise<ClaimAnswer>
  /** Reads the payload of a claim: apart from `claim`, because a large one takes minutes on a slow line. Rejects if it is lost. */
  payload(claim: Claim): Promise<object>
  /** Extends the lease, and brings what the launcher asks. Does nothing for who has lost the lease. */
  beat(claim: Fence, beat: Beat): Promise<BeatAnswer>
  /**
   * Ends a claim. Resolves with whether the claim still held, or was ended by this settlement before; else nothing is written. A
   * result of a prompted agent is also taken after the lease, for as long as the job waits for its worker: nobody else has it.
   */
  settle(claim: Fence, settlement: Settlement): Promise<boolean>
  /**
   * Calls back when a worker may have something to claim or to receive, until `signal`. Calls can be lost, so workers also
   * poll.
   */
  watch(onChange: (change: ClaimsChange) => void, signal: AbortSignal): void
}

/**
 * A queue. `Jobs` also promises:
 *
 * - `offer`: an id stays known after `acknowledge`, so that an offer that comes late starts nothing.
 * - `cancel`: a waiting job ends at once. One at work ends when its worker settles, or when its lease has run out: the end says
 *   so. An id that the queue does not know is refused from then on: an offer that was under way starts nothing.
 *
 * - `say`: messages come to the agent in their order, once each unless its worker is killed between handing it over and the
 *   next beat. A known id changes nothing. The end of the job has those that were not heard.
 *
 * - `states`: an end stays until `acknowledge`, which does nothing for a job that has not ended.
 */
export interface Fleet {
  /** The jobs of one owner. No verb reaches another owner's. */
  launcher(owner: string): Jobs
  readonly claims: Claims
}

/** The times of a queue. */
export interface FleetTimes {
  readonly leaseMs: number
  /** How long a job whose agent was prompted waits for its worker, from when the lease ran out. */
  readonly resumeMs: number
  /** How long a worker that could not start a job does not get it again: others are tried first. */
  readonly retryMs: number
  /** How many claims may fail to start a job. */
  readonly attempts: number
}

export const DEFAULT_TIMES: FleetTimes = { leaseMs: 30_000, resumeMs: 300_000, retryMs: 30_000, attempts: 3 }

/** How many agents work at a time, over all workers: one is counted from its claim until the queue knows how its run is over. */
export interface FleetLimits {
  readonly total: number
  /** By the name of a provider, and `provider/model`. Without an entry there is no limit. */
  readonly providers: Readonly<Record<string, number>>
  readonly models: Readonly<Record<string, number>>
}
