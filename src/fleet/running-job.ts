/** The seam between a worker and OpenCode: an agent at work (`worker/job-run.ts`), and the runner that begins one (`worker/job-runner.ts`). */

export interface RunningJob {
  /** Resolves with the result when the agent has really stopped. Never rejects. */
  readonly result: Promise<object>
  report(): Promise<object>
  readonly backoff: () => { readonly providerID: string; readonly forMs: number } | undefined
  /** Resolves with whether the agent reads it. */
  say(text: string): Promise<boolean>
  stop(): void
  /** Resolves with a new checkpoint, if one is due. */
  checkpoint(): Promise<object | undefined>
  /** Removes what the job has left at the worker. Never rejects. */
  drop(): Promise<void>
}

export interface Runner {
  /**
   * Begins a job. Rejects if it cannot be begun; nothing stays then.
   *
   * @param accepted called before the prompt is sent, which is sent only if this resolves
   */
  start(jobID: string, payload: object, accepted: () => Promise<void>): Promise<RunningJob>
  /** Finds a job that an earlier process has begun; `undefined` if nothing is left of it. Rejects while that is unknown. */
  resume(jobID: string): Promise<RunningJob | undefined>
  /** Stops the agents of earlier processes, but for these jobs. */
  stopStrays(kept: readonly RunningJob[]): Promise<void>
}
