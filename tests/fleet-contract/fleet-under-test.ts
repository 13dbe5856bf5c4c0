/** What the contract needs of a queue, and short words for what it does with it. */
import type { JobState, Jobs, Offer } from '../../src/fleet/launcher/jobs.ts'
import {
  PROTOCOL,
  type Beat,
  type Claim,
  type ClaimAnswer,
  type ClaimRequest,
  type Claims,
  type Fleet,
  type FleetLimits,
  type FleetTimes,
  type WorkerProcess,
} from '../../src/fleet/port.ts'

export interface FleetUnderTest {
  readonly fleet: Fleet
  /** Has time pass on the clock of the queue, which notices what that ends. */
  pass(ms: number): Promise<void>
  close(): Promise<void>
}

export type OpenFleet = (times: FleetTimes, limits: FleetLimits) => Promise<FleetUnderTest>

export const UNLIMITED: FleetLimits = { total: 100, providers: {}, models: {} }

export function offerOf(id: string, more: Partial<Offer> = {}): Offer {
  return { id, labels: [], payload: { prompt: id }, ...more }
}

export function workerOf(name: string, more: Partial<WorkerProcess> = {}): WorkerProcess {
  const usual = {
    identity: `disk of ${name}`,
    process: `${name}-1`,
    protocol: PROTOCOL,
    labels: [],
    slots: 4,
  }
  return { name, ...usual, ...more }
}

/** A process of a worker, by hand. */
export class HandWorker {
  readonly process: WorkerProcess
  readonly #claims: Claims
  holding: readonly Claim[] = []
  #number = 0

  constructor(claims: Claims, process: WorkerProcess) {
    this.#claims = claims
    this.process = process
  }

  /** The next request, as it would be sent now. */
  request(more: Partial<ClaimRequest> = {}): ClaimRequest {
    this.#number += 1
    const holding = this.holding.map(({ job, fence }) => ({ job, fence }))
    return { worker: this.process, number: this.#number, holding, wants: 'any', ...more }
  }

  async ask(more: Partial<ClaimRequest> = {}): Promise<ClaimAnswer> {
    const answer = await this.#claims.claim(this.request(more))
    if (answer.type === 'claimed') this.holding = [...this.holding, answer.claim]
    return answer
  }

  /** Claims a job that must be there. */
  async claim(more: Partial<ClaimRequest> = {}): Promise<Claim> {
    const answer = await this.ask(more)
    if (answer.type !== 'claimed') throw new Error(`the queue has answered ${JSON.stringify(answer)}`)
    return answer.claim
  }

  payload(claim: Claim): Promise<object> {
    return this.#claims.payload(claim)
  }

  beat(claim: Claim, more: Partial<Beat> = {}) {
    return this.#claims.beat(claim, { phase: 'prompted', heard: [], ...more })
  }
}

export async function stateOf(jobs: Jobs, id: string): Promise<JobState | undefined> {
  return (await jobs.states([id])).get(id)
}

export interface Stage {
  readonly under: FleetUnderTest
  readonly jobs: Jobs
  /** The process of a worker that is described so, the first one of this name without more. */
  readonly worker: (name: string, more?: Partial<HandWorker['process']>) => HandWorker
}

/** Runs a case on a queue of its own. */
export type Case = (name: string, run: (stage: Stage) => Promise<void>, limits?: FleetLimits) => void
