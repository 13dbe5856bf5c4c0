/** A machine with its OpenCode, whose agents outlive the processes of the worker, and with the real loop of a worker. */
import { PROTOCOL, type Claims } from '../../src/fleet/port.ts'
import { Worker } from '../../src/fleet/worker-loop.ts'
import type { RunningJob, Runner } from '../../src/fleet/worker-job.ts'
import type { Link, Network } from './network.ts'
import type { Agent, Oracle } from './oracle.ts'
import { ProcessClock, type Chance, type Time } from './sim-clock.ts'

export interface World {
  readonly time: Time
  readonly chance: Chance
  readonly network: Network
  readonly oracle: Oracle
  readonly claims: Claims
  /** How often a process dies at each point of a job. */
  crashRate: number
}

/** A session of an agent in the OpenCode of a machine. */
interface Session {
  state: 'prepared' | 'working' | 'ended'
  result: object
  checkpoints: number
  readonly watchers: Set<Process>
  readonly onEnd: Set<() => void>
  agent?: Agent
}

/** A process of the worker. */
interface Process extends Link {
  readonly id: string
  state: 'alive' | 'dead'
  worker?: Worker
}

const LONGEST_RESTART_MS = 500_000

export class Machine {
  readonly name: string
  readonly #world: World
  readonly #labels: readonly string[]
  readonly #slots: number
  #identity: string
  #sessions = new Map<string, Session>()
  #process: Process | undefined
  #processes = 0
  /** A worker's clock is off, and a little slow or fast. */
  readonly #offsetMs: number
  readonly #rate: number

  constructor(world: World, name: string, id: string, slots: number, labels: readonly string[]) {
    this.name = name
    this.#world = world
    this.#identity = id
    this.#slots = slots
    this.#labels = labels
    this.#offsetMs = world.chance.between(-7_200_000, 7_200_000)
    this.#rate = world.chance.between(0.98, 1.02)
  }

  /** Starts a process of the worker; one that runs goes on. */
  start(): void {
    const { claims, network, oracle, time } = this.#world
    this.#processes += 1
    const process: Process = {
      id: `${this.name}/${this.#identity}/${this.#processes}`,
      state: 'alive',
      isAlive: () => process.state === 'alive',
      sends: true,
      receives: true,
    }
    this.#process = process
    const call = <Value>(verb: () => Promise<Value>): Promise<Value> => network.call(process, verb)
    const ports: Claims = {
      claim: async (request) => {
        const answer = await call(async () => {
          const given = await claims.claim(request)
          if (given.type === 'claimed') oracle.claimed(given.claim, process.id)
          return given
        })
        if (answer.type === 'claimed') this.#point(process)
        return answer
      },
      beat: (fence, beat) =>
        call(async () => {
          const answer = await claims.beat(fence, beat)
          oracle.beaten(fence, beat.phase, answer)
          return answer
        }),
      settle: async (fence, settlement) => {
        this.#point(process)
        await this.#onlyAlive(process)
        const isHeld = await call(async () => {
          const held = await claims.settle(fence, settlement)
          oracle.settled(fence, settlement, held)
          return held
        })
        this.#point(process)
        await this.#onlyAlive(process)
        return isHeld
      },
      watch: (onChange, signal) =>
        claims.watch((change) => {
          if (change.type === 'asked' && process.isAlive() && this.#world.chance.happens(0.5))
            onChange(change)
        }, signal),
    }
    const clock = new ProcessClock(time, process.isAlive, this.#offsetMs, this.#rate)
    const log = { warn: () => {} }
    const described = {
      name: this.name,
      identity: this.#identity,
      process: process.id,
      protocol: PROTOCOL,
      labels: this.#labels,
      slots: this.#slots,
    }
    process.worker = new Worker({ claims: ports, clock, log, runner: this.#runnerOf(process) }, described, {
      drainTimeoutMs: 60_000,
    })
    void this.#restartOnceEnded(process, process.worker)
  }

  async #restartOnceEnded(process: Process, { ended }: Worker): Promise<void> {
    const { type } = await ended
    process.state = 'dead'
    if (type !== 'replaced') this.#restart()
  }

  drain(): void {
    this.#process?.worker?.drain()
  }

  kill(): void {
    const process = this.#process
    if (!process || process.state === 'dead') return
    this.#kill(process)
  }

  /** Cuts calls, answers, or both, for a while. */
  partition(ms: number, sends: boolean, receives: boolean): void {
    const process = this.#process
    if (!process) return
    process.sends = sends
    process.receives = receives
    this.#world.time.after(ms, () => {
      process.sends = true
      process.receives = true
    })
  }

  /** The machine is gone with its disk, and a new one gets its name. */
  replaceDisk(): void {
    for (const session of this.#sessions.values()) this.#endSession(session, { outcome: 'gone' })
    this.#sessions = new Map()
    this.#identity = `${this.#identity}'`
    this.kill()
  }

  #kill(process: Process): void {
    process.state = 'dead'
    this.#world.oracle.figures.kills += 1
    if (process === this.#process) this.#restart()
  }

  #restart(): void {
    const { chance, time } = this.#world
    const wait = Math.min(LONGEST_RESTART_MS, 1000 + chance.around(30_000))
    time.after(wait, () => {
      if (this.#process?.state !== 'alive') this.start()
    })
  }

  /** A point at which a process may die. */
  #point(process: Process): void {
    if (process.isAlive() && this.#world.chance.happens(this.#world.crashRate)) this.#kill(process)
  }

  /** Never resolves for a process that is dead. */
  #onlyAlive(process: Process): Promise<void> {
    return process.isAlive() ? Promise.resolve() : new Promise(() => {})
  }

  async #pause(process: Process, most: number): Promise<void> {
    await this.#world.time.wait(this.#world.chance.between(50, most))
    await this.#onlyAlive(process)
  }

  #runnerOf(process: Process): Runner {
    return {
      start: async (job, payload, accepted) => {
        await this.#pause(process, 4000)
        if (this.#world.chance.happens(0.01)) throw new Error('no room on the disk')
        const session: Session = {
          state: 'prepared',
          result: { outcome: 'failed' },
          checkpoints: 0,
          watchers: new Set([process]),
          onEnd: new Set(),
        }
        this.#sessions.set(job, session)
        void this.#prompt(process, job, session, accepted, (payload as { readonly ms: number }).ms)
        return this.#runOf(process, session, job)
      },
      resume: async (job) => {
        await this.#pause(process, 2000)
        const session = this.#sessions.get(job)
        if (!session) return undefined
        session.watchers.add(process)
        // Its prompt was accepted, and its process died before it sent it.
        if (session.state === 'prepared') this.#endSession(session, { outcome: 'interrupted' })
        return this.#runOf(process, session, job)
      },
      stopStrays: async (kept) => {
        await this.#pause(process, 2000)
        for (const session of this.#sessions.values())
          if (session.state === 'working' && !kept.some((run) => session === this.#sessionsOf.get(run)))
            this.#endSession(session, { outcome: 'stopped' })
      },
    }
  }

  readonly #sessionsOf = new WeakMap<RunningJob, Session>()

  async #prompt(
    process: Process,
    job: string,
    session: Session,
    accepted: () => Promise<void>,
    ms: number,
  ): Promise<void> {
    try {
      await this.#pause(process, 1000)
      if (session.state === 'ended') return
      await accepted()
      await this.#onlyAlive(process)
      this.#point(process)
      await this.#onlyAlive(process)
    } catch {
      this.#endSession(session, { outcome: 'failed' })
      return
    }
    // The session may have ended here, as in OpenCode.
    if (this.#sessions.get(job) !== session || session.state !== 'prepared') return
    session.state = 'working'
    session.agent = { job, isWatched: () => [...session.watchers].some((watcher) => watcher.isAlive()) }
    this.#world.oracle.prompted(session.agent, process.id)
    this.#point(process)
    this.#world.time.after(ms, () => {
      this.#endSession(session, { outcome: 'completed' })
    })
  }

  #runOf(process: Process, session: Session, job: string): RunningJob {
    const { chance, time } = this.#world
    const ended = new Promise<void>((resolve) => {
      if (session.state === 'ended') resolve()
      else session.onEnd.add(resolve)
    })
    const run: RunningJob = {
      result: ended.then(async () => {
        await this.#onlyAlive(process)
        this.#point(process)
        await this.#onlyAlive(process)
        return session.result
      }),
      report: async () => ({ checkpoints: session.checkpoints }),
      backoff: () =>
        chance.happens(0.001) ? { providerID: `p${job.length % 3}`, forMs: 20_000 } : undefined,
      say: async () => session.state === 'working',
      stop: () => {
        if (session.state !== 'ended')
          time.after(chance.between(50, 2000), () => this.#endSession(session, { outcome: 'stopped' }))
      },
      checkpoint: async () => {
        if (!chance.happens(0.1)) return undefined
        session.checkpoints += 1
        return { number: session.checkpoints }
      },
      drop: async () => {
        if (this.#sessions.get(job) === session) this.#sessions.delete(job)
      },
    }
    this.#sessionsOf.set(run, session)
    return run
  }

  #endSession(session: Session, result: object): void {
    if (session.state === 'ended') return
    session.state = 'ended'
    session.result = result
    if (session.agent) this.#world.oracle.stopped(session.agent)
    for (const tell of session.onEnd) tell()
    session.onEnd.clear()
  }
}
