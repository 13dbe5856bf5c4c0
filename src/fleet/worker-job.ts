/**
 * One claim of a worker, from its answer until its agent has stopped and the queue knows.
 *
 *   starting ──accepted──→ prompted ──the agent has ended──→ ended ──→ settled
 *      │                      │
 *      ├─ cancelled, released ┤ (the agent is stopped, then settled)
 *      └──────────┬───────────┘
 *                 ↓ the lease has run out, or the queue says so
 *               lost (the agent is stopped, and nothing is written)
 *
 * Once the agent has ended, nothing has to be stopped when the lease runs out: the result is kept until the queue answers, which
 * takes it unless the job is another one's by then, or has ended.
 *
 * The lease is measured on the monotonic clock from when the last answered beat was sent, and ends here before it ends at the
 * queue: the agent has the difference to stop, and a clock may be a little slow.
 */
import type { Clock } from '../clock.ts'
import { errorText } from '../host/opencode.ts'
import { callWithin, sizeOf, transferMs } from './call-within.ts'
import { JobMessages } from './job-messages.ts'
import type { Beat, Claim, Claims, Settlement } from './port.ts'
import type { Runner, RunningJob } from './running-job.ts'

export interface JobPorts {
  readonly claims: Pick<Claims, 'payload' | 'beat' | 'settle'>
  readonly clock: Clock
  readonly runner: Runner
  readonly log: { warn(message: string): void }
}

type Phase =
  | 'starting'
  | 'prompted'
  /** The result is here, and the queue does not have it yet. */
  | 'ended'
  /** The launcher wants an end, or the worker goes away, before the prompt. */
  | 'cancelled'
  | 'released'
  | 'lost'
  /** The next process of the worker takes care of the agent. */
  | 'detached'
  | 'settled'

const BEATS_A_LEASE = 3
/** The part of the lease after which the worker takes it for lost. */
const TRUSTED = 5 / 6
const RETRY_MS = 1000
const LONGEST_RETRY_MS = 10_000
/** How often a payload is asked for. */
const PAYLOAD_CALLS = 3
/** How long a resumed agent is looked for at an OpenCode that does not say what is left of it. */
const RESUME_MS = 300_000
/** How long a beat waits for what it is to say. */
const REPORT_MS = 2000

export class WorkerJob {
  readonly claim: Claim
  /** Resolves with the agent once it is begun; `undefined` if it could not be. */
  readonly begun: Promise<RunningJob | undefined>
  /** Resolves when the agent has stopped, or is left to the next process, and nothing is written any more. */
  readonly over: Promise<void>
  readonly #ports: JobPorts
  #phase: Phase
  #run: RunningJob | undefined
  #cancelFence = (): void => {}
  #cancelBeat = (): void => {}
  #isBeating: 'no' | 'yes' | 'again' = 'no'
  /** Waits for an answer to a beat that says `prompted`. */
  #prompting: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined
  /** The last one that the queue does not have. */
  #checkpoint: object | undefined
  #checkpointing: 'no' | 'yes' = 'no'
  readonly #messages: JobMessages
  /** Why there is no agent. */
  #failure = 'its session is gone'
  #finish!: () => void

  /**
   * @param sentAt when the claim was asked for, on the monotonic clock
   * @param earlier resolves when an earlier claim of the job at this worker is over
   */
  constructor(ports: JobPorts, claim: Claim, sentAt: number, earlier: Promise<unknown>) {
    this.#ports = ports
    this.claim = claim
    this.#messages = new JobMessages((why) =>
      ports.log.warn(`${claim.offer.id}: a message could not be sent: ${why}`),
    )
    this.#phase = claim.type === 'resume' ? 'prompted' : 'starting'
    const finished = new Promise<void>((resolve) => (this.#finish = resolve))
    this.#leaseFrom(sentAt)
    this.#beatIn(claim.type === 'resume' ? 0 : claim.leaseMs / BEATS_A_LEASE)
    this.begun = this.#begin(earlier)
    void this.#work()
    this.over = finished
  }

  get isPrompted(): boolean {
    return this.#phase === 'prompted'
  }

  /** Gives the job back, unless its agent was prompted: then it works on. */
  release(): void {
    if (this.#phase === 'starting') this.#stopBeforePrompt('released')
  }

  /** Leaves the agent, and the claim, to the next process of the worker. */
  detach(): void {
    if (this.#isGone()) return
    this.#phase = 'detached'
    this.#close()
  }

  /** Takes the claim for lost. */
  lose(): void {
    if (this.#isGone()) return
    const hasEnded = this.#phase === 'ended'
    const what = hasEnded ? 'its result is not taken; its worktree stays' : 'its agent is stopped'
    this.#ports.log.warn(`${this.claim.offer.id}: the claim is lost; ${what}`)
    const isPrompted = this.#phase === 'prompted' || hasEnded
    this.#phase = 'lost'
    this.#cancelFence()
    this.#cancelBeat()
    this.#prompting?.reject(new Error('the lease of the job has run out'))
    this.#run?.stop()
    // An agent that was never prompted has left no work to keep.
    if (!isPrompted) void this.#dropOnceOver()
  }

  async #dropOnceOver(): Promise<void> {
    const run = await this.begun
    await run?.result
    await run?.drop()
  }

  /** The next beat is due now. */
  beatNow(): void {
    if (this.#isBeating === 'no') void this.#beat()
    else this.#isBeating = 'again'
  }

  async #begin(earlier: Promise<unknown>): Promise<RunningJob | undefined> {
    const { claim } = this
    const { runner } = this.#ports
    try {
      await earlier
      if (claim.type === 'resume') this.#run = await this.#resume()
      else {
        const payload = await this.#payload()
        if (payload) this.#run = await runner.start(claim.job, payload, () => this.#accept())
      }
    } catch (error) {
      this.#failure = errorText(error)
    }
    if (this.#isStopped()) this.#run?.stop()
    return this.#run
  }

  /** Reads what the agent is to do, while beats hold the claim; `undefined` once nobody wants it. */
  async #payload(): Promise<object | undefined> {
    const { claims, log } = this.#ports
    for (let calls = 1; this.#isStarting(); calls += 1) {
      try {
        const payload = await this.#call(claims.payload(this.claim), this.claim.payloadBytes)
        return this.#isStarting() ? payload : undefined
      } catch (error) {
        if (calls === PAYLOAD_CALLS) throw error
        log.warn(`${this.claim.offer.id}: its payload was not received: ${errorText(error)}; trying again`)
        await this.#pause(RETRY_MS)
      }
    }
    return undefined
  }

  /** Finds the agent. Tries again while it cannot be told what is left of it, because a claim that ends has ended for good. */
  async #resume(): Promise<RunningJob | undefined> {
    const { clock, log, runner } = this.#ports
    const until = clock.monotonic() + RESUME_MS
    while (this.#phase === 'prompted') {
      try {
        return await runner.resume(this.claim.job)
      } catch (error) {
        if (clock.monotonic() >= until) throw error
        log.warn(`${this.claim.offer.id}: it could not be resumed: ${errorText(error)}; trying again`)
        await this.#pause(RETRY_MS)
      }
    }
    return undefined
  }

  async #work(): Promise<void> {
    const run = await this.begun
    const result = await run?.result
    await this.#messages.handed
    if (result && this.#phase === 'prompted') {
      this.#phase = 'ended'
      this.#cancelFence()
    }
    const settlement = this.#settlementOf(result)
    if (settlement) await this.#settle(settlement)
    this.#close()
  }

  /** Returns how the claim ends, once there is no agent any more. */
  #settlementOf(result: object | undefined): Settlement | undefined {
    switch (this.#phase) {
      case 'lost':
      case 'detached':
      case 'settled':
        return undefined
      case 'cancelled':
      case 'released':
        return { type: this.#phase }
      case 'ended':
      case 'prompted':
      case 'starting':
        if (result) return { type: 'result', result, heard: this.#messages.heard }
        if (this.claim.type === 'resume') return { type: 'interrupted', why: this.#failure }
        return { type: 'notStarted', why: this.#failure }
    }
  }

  /** Sends the settlement until the queue answers: a result while this process lives, any other only while the lease holds. */
  async #settle(settlement: Settlement): Promise<void> {
    const { claims, log } = this.#ports
    for (let waitMs = RETRY_MS; !this.#isGone(); waitMs = Math.min(2 * waitMs, LONGEST_RETRY_MS)) {
      try {
        const isHeld = await this.#call(claims.settle(this.claim, settlement), sizeOf(settlement))
        if (this.#isGone()) return
        if (isHeld) {
          this.#phase = 'settled'
          await this.#run?.drop()
        } else this.lose()
        return
      } catch (error) {
        log.warn(`${this.claim.offer.id}: its end could not be told: ${errorText(error)}`)
        await this.#pause(waitMs)
      }
    }
  }

  #close(): void {
    this.#cancelFence()
    this.#cancelBeat()
    this.#finish()
  }

  #isGone(): boolean {
    return this.#phase === 'lost' || this.#phase === 'detached' || this.#phase === 'settled'
  }

  #isStarting(): boolean {
    return this.#phase === 'starting'
  }

  #isStopped(): boolean {
    return this.#phase !== 'starting' && this.#phase !== 'prompted' && this.#phase !== 'detached'
  }

  /** Resolves once the queue has accepted that the prompt is sent. */
  #accept(): Promise<void> {
    if (this.#phase !== 'starting') return Promise.reject(new Error(`the job is ${this.#phase}`))
    const accepted = new Promise<void>((resolve, reject) => (this.#prompting = { resolve, reject }))
    this.beatNow()
    return accepted
  }

  #stopBeforePrompt(phase: 'cancelled' | 'released'): void {
    this.#phase = phase
    this.#prompting?.reject(new Error(`the job was ${phase}`))
    this.#run?.stop()
  }

  #leaseFrom(sentAt: number): void {
    const { clock } = this.#ports
    this.#cancelFence()
    if (this.#phase === 'ended') return
    const left = sentAt + this.claim.leaseMs * TRUSTED - clock.monotonic()
    this.#cancelFence = clock.after(Math.max(0, left), () => this.lose())
  }

  #beatIn(ms: number): void {
    this.#cancelBeat()
    this.#cancelBeat = this.#ports.clock.after(ms, () => this.beatNow())
  }

  async #beat(): Promise<void> {
    const { claims, clock, log } = this.#ports
    this.#isBeating = 'yes'
    this.#cancelBeat()
    let nextMs = this.claim.leaseMs / BEATS_A_LEASE
    try {
      const beat = await this.#nextBeat()
      if (this.#isGone()) return
      const sentAt = clock.monotonic()
      const answer = await this.#call(claims.beat(this.claim, beat))
      if (this.#isGone()) return
      if (answer.type === 'lost') {
        // The job may have ended by the result, whose answer was lost: the answer to that decides.
        if (this.#phase !== 'ended') this.lose()
        return
      }
      this.#leaseFrom(sentAt)
      this.#messages.observeTold(beat.heard)
      if (answer.isCancelled) this.#cancel()
      else if (this.#phase === 'starting' && beat.phase === 'prompted') {
        this.#phase = 'prompted'
        this.#prompting?.resolve()
      }
      for (const message of answer.messages) this.#messages.hand(this.#run, message)
    } catch (error) {
      log.warn(`${this.claim.offer.id}: the queue did not answer: ${errorText(error)}`)
      nextMs = RETRY_MS
    } finally {
      const isDue = this.#wasAsked()
      this.#isBeating = 'no'
      if (!this.#isGone()) this.#beatIn(isDue ? 0 : nextMs)
    }
  }

  #wasAsked(): boolean {
    return this.#isBeating === 'again'
  }

  async #nextBeat(): Promise<Beat> {
    const { clock } = this.#ports
    const run = this.#run
    const report = run && (await callWithin(clock, REPORT_MS, run.report()).catch(() => undefined))
    const backoff = run?.backoff()
    if (run && this.#phase === 'prompted') void this.#takeCheckpoint(run)
    const isPrompting = this.#phase === 'starting' && this.#prompting !== undefined
    return {
      phase: isPrompting || this.#phase === 'prompted' || this.#phase === 'ended' ? 'prompted' : 'starting',
      ...(report && { report }),
      ...(backoff && { backoff: { provider: backoff.providerID, forMs: backoff.forMs } }),
      heard: this.#messages.heard,
    }
  }

  /** Makes a checkpoint, and sends it by a separate beat, because both can take longer than the lease. */
  async #takeCheckpoint(run: RunningJob): Promise<void> {
    if (this.#checkpointing === 'yes') return
    this.#checkpointing = 'yes'
    try {
      this.#checkpoint = (await run.checkpoint()) ?? this.#checkpoint
      const checkpoint = this.#checkpoint
      if (checkpoint && this.#phase === 'prompted') {
        const beat = { phase: 'prompted', checkpoint, heard: [] } as const
        // Its answer is ignored: the next beat is answered with the same.
        await this.#call(this.#ports.claims.beat(this.claim, beat), sizeOf(checkpoint))
        this.#checkpoint = undefined
      }
    } catch (error) {
      this.#ports.log.warn(
        `${this.claim.offer.id}: a checkpoint could not be made, or not sent: ${errorText(error)}`,
      )
    }
    this.#checkpointing = 'no'
  }

  #cancel(): void {
    if (this.#phase === 'starting') this.#stopBeforePrompt('cancelled')
    else this.#run?.stop()
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.after(ms, resolve))
  }

  /** @param bytes that it carries */
  #call<Value>(call: Promise<Value>, bytes = 0): Promise<Value> {
    return callWithin(this.#ports.clock, this.claim.leaseMs / BEATS_A_LEASE + transferMs(bytes), call)
  }
}
