/** The way between a process and the queue: calls and answers take time, get lost, or come late; the database restarts. */
import type { Chance, Time } from './sim-clock.ts'

/** The line of a machine: the moments until which calls, and answers, do not get through. */
export interface Line {
  callsCutUntil: number
  answersCutUntil: number
}

export interface Link {
  readonly isAlive: () => boolean
  readonly line: Line
}

export class Network {
  isDatabaseUp = true
  readonly #time: Time
  readonly #chance: Chance

  readonly #faults: number

  /** @param faults how often calls go wrong; 1 is usual */
  constructor(time: Time, chance: Chance, faults: number) {
    this.#faults = faults
    this.#time = time
    this.#chance = chance
  }

  /** Cuts calls, answers, or both, for a while. */
  cut(line: Line, ms: number, what: 'calls' | 'answers' | 'both'): void {
    const until = this.#time.now + ms
    if (what !== 'answers') line.callsCutUntil = Math.max(until, line.callsCutUntil)
    if (what !== 'calls') line.answersCutUntil = Math.max(until, line.answersCutUntil)
  }

  /** Makes a call of the queue. A call of a process that has died since may still take effect. */
  call<Value>(link: Link, verb: () => Promise<Value>): Promise<Value> {
    const chance = this.#chance
    const faults = this.#faults
    return new Promise((resolve, reject) => {
      const fail = (): void => {
        if (link.isAlive()) reject(new Error('the connection was closed'))
      }
      const answer = (value: Value): void =>
        this.#after(link.line.answersCutUntil, chance.between(5, 100), () => {
          if (link.isAlive()) resolve(value)
        })
      // Some calls are held up, and arrive when the process has long given them up.
      const delay = chance.happens(0.004 * faults) ? chance.between(5000, 90_000) : chance.between(5, 100)
      this.#after(link.line.callsCutUntil, delay, () => {
        if (!this.isDatabaseUp || chance.happens(0.001 * faults)) return fail()
        // The transaction was committed, and the connection was closed before the answer.
        const isCut = chance.happens(0.002 * faults)
        verb().then((value) => (isCut ? fail() : answer(value)), reject)
      })
    })
  }

  /** While a line is cut, it loses some of what is sent, and brings the rest once it is whole again. */
  #after(cutUntil: number, delay: number, arrive: () => void): void {
    const leftMs = Math.max(0, cutUntil - this.#time.now)
    if (leftMs === 0 || this.#chance.happens(0.5)) this.#time.after(leftMs + delay, arrive)
  }
}
