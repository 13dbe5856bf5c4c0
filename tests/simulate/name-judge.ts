/** Which process of a worker may claim under its name. */
import { PROTOCOL, type ClaimRequest } from '../../src/fleet/port.ts'
import type { Holder } from '../fleet-model/job.ts'
import type { Time } from './sim-clock.ts'

/** The worker that has a name. */
interface Owner {
  readonly identity: string
  readonly process: string
  /** The processes before it, on each disk. */
  readonly replaced: Set<string>
  number: number
  heardAt: number
}

/** What the queue owes a request. */
export type Admission = 'admitted' | 'overtaken' | 'replaced' | 'taken name' | 'other protocol'

export class NameJudge {
  readonly #time: Time
  readonly #leaseMs: number
  readonly #owners = new Map<string, Owner>()

  constructor(time: Time, leaseMs: number) {
    this.#time = time
    this.#leaseMs = leaseMs
  }

  /** Returns what a request is owed, and takes it for the sign of life that it is. */
  admit({ worker, number }: ClaimRequest): Admission {
    if (worker.protocol !== PROTOCOL) return 'other protocol'
    const { identity, name, process } = worker
    const owner = this.#owners.get(name)
    const heardAt = this.#time.now
    if (!owner) {
      this.#owners.set(name, { identity, process, replaced: new Set(), number, heardAt })
      return 'admitted'
    }
    const isOther = owner.identity !== identity
    if (isOther && heardAt - owner.heardAt < this.#leaseMs) return 'taken name'
    if (owner.replaced.has(process)) return 'replaced'
    if (owner.process !== process) {
      const replaced = owner.replaced.add(owner.process)
      this.#owners.set(name, { identity, process, replaced, number, heardAt })
      return 'admitted'
    }
    if (number <= owner.number) return 'overtaken'
    owner.number = number
    owner.heardAt = heardAt
    return 'admitted'
  }

  /** A beat was answered. */
  heard({ name, process }: Holder): void {
    const owner = this.#owners.get(name)
    if (owner?.process === process) owner.heardAt = this.#time.now
  }
}
