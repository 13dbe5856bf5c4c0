/** The part of the fleet's queue that a launcher uses. */

/** A job that is offered. */
export interface Offer {
  /** `<task id>.<run>`: an offer with a known id changes nothing. */
  readonly id: string
  readonly labels: readonly string[]
  readonly provider?: string
  readonly model?: string
  readonly payload: object
}

/** What is known of a job. */
export type JobState =
  | { readonly type: 'waiting'; readonly note?: string }
  | {
      readonly type: 'claimed'
      readonly worker: string
      /** Whether its agent was prompted. */
      readonly isPrompted: boolean
      /** Milliseconds since the last sign of life of the worker. */
      readonly silentMs: number
      /** The report of the last sign of life. */
      readonly report: unknown
    }
  | {
      readonly type: 'ended'
      readonly worker?: string
      /** The result of the worker; absent where it has handed back none. */
      readonly result?: unknown
      /** Why there is no result: in words, with what became of the job. */
      readonly why?: string
      readonly isCancelled?: boolean
      readonly checkpoint?: unknown
      /** The texts of the messages that the agent has not heard, in their order. */
      readonly unheard?: readonly string[]
    }

export interface Jobs {
  offer(job: Offer): Promise<void>
  /** Resolves with the states of these jobs; without those that the queue does not know. */
  states(ids: readonly string[]): Promise<ReadonlyMap<string, JobState>>
  /**
   * Asks the worker of a job to stop. Does nothing for one that has ended. Resolves with false if the queue has no such job, or has
   * refused or forgotten it: `states` never has it then.
   */
  cancel(id: string): Promise<boolean>
  /** Sends a message to the agent of a job. Resolves with false if the job has ended. */
  say(id: string, message: { readonly id: string; readonly text: string }): Promise<boolean>
  /** Confirms that the end of a job was stored, so that the queue may forget the job. */
  acknowledge(id: string): Promise<void>
  /** Calls back when jobs of ours may have changed, until `signal`. */
  watch(onChange: () => void, signal: AbortSignal): void
}
