/** The way between a process and the queue: calls and answers take time, get lost, or come late; the database restarts. */
import type { Chance, Time } from './sim-clock.ts'

export interface Link {
  readonly isAlive: () => boolean
  /** Whether calls, and answers, get through. */
  sends: boolean
  receives: boolean
}

export class Network {
  isDatabaseUp = true
  readonly #time: Time
  readonly #chance: Chance

  constructor(time: Time, chance: Chance) {
    this.#time = time
    this.#chance = chance
  }

  /** Makes a call of the queue. A call of a process that has died since may still take effect. */
  call<Value>(link: Link, verb: () => Promise<Value>): Promise<Value> {
    const { happens, between } = this.#bound()
    return new Promise((resolve, reject) => {
      const fail = (): void => {
        if (link.isAlive()) reject(new Error('the connection was closed'))
      }
      const answer = (deliver: () => void): void => {
        this.#time.after(between(5, 100), () => {
          if (link.isAlive() && link.receives) deliver()
        })
      }
      if (!link.sends) return
      // Some calls are held up, and arrive when the process has long given them up.
      const delay = happens(0.002) ? between(5000, 60_000) : between(5, 100)
      this.#time.after(delay, () => {
        if (!this.isDatabaseUp || happens(0.001)) return fail()
        // The transaction was committed, and the connection was closed before the answer.
        const isCut = happens(0.002)
        verb().then((value) => (isCut ? fail() : answer(() => resolve(value))), reject)
      })
    })
  }

  #bound() {
    const chance = this.#chance
    return {
      happens: (probability: number) => chance.happens(probability),
      between: (least: number, most: number) => chance.between(least, most),
    }
  }
}
