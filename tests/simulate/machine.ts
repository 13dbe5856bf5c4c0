/** A machine with its OpenCode, whose agents outlive the processes of the worker, and with the real loop of a worker. */
import type { Claims } from '../../src/fleet/port.ts'
import { Worker } from '../../src/fleet/worker-loop.ts'
import type { RunningJob, Runner } from '../../src/fleet/running-job.ts'
import type { Line, Link, Network } from './network.ts'
import type { Agent, Oracle } from './oracle.ts'
import { ProcessClock, type Chance, type Time } from './sim-clock.ts'

export interface World {
  readonly time: Time
  readonly chance: Chance
  readonly network: Network
  readonly oracle: Oracle
  readonly claims: Claims
  /** How often a process dies at each point of a job. */
  readonly crashRate: number
  /** By provider: until when it refuses requests. */
  readonly overloads: Map<string, number>
}

/** What an agent is to do. */
export interface Work {
  readonly provider: string
  readonly ms: number
  /** How often it cannot be started, from 0 to 1. */
  readonly startFails: number
}

/** A session of an agent in the OpenCode of a machine. */
interface Session {
  readonly work: Work
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
  /** Aborted when it dies. */
  readonly life: AbortController
  worker?: Worker
}

export interface MachineOptions {
  readonly name: string
  readonly identity: string
  readonly slots: number
  readonly labels: readonly string[]
  readonly protocol: number
  /** Whether it is told of offers; others find them when they ask. */
  readonly hearsOffers: boolean
}

export class Machine {
  readonly #world: World
  readonly #options: MachineOptions
  readonly #line: Line = { callsCutUntil: 0, answersCutUntil: 0 }
  #identity: string
  #sessions = new Map<string, Session>()
  readonly #sessionsOf = new WeakMap<RunningJob, Session>()
  #process: Process | undefined
  #processes = 0
  /** A worker's clock is off, and a little slow or fast. */
  readonly #offsetMs: number
  readonly #rate: number

  constructor(world: World, options: MachineOptions) {
    this.#world = world
    this.#options = options
    this.#identity = options.identity
    this.#offsetMs = world.chance.between(-7_200_000, 7_200_000)
    this.#rate = world.chance.between(0.98, 1.02)
  }

  /** Starts a process of the worker; one that runs goes on. */
  start(): void {
    const { time } = this.#world
    const { labels, name, protocol, slots } = this.#options
    this.#processes += 1
    const process: Process = {
      id: `${name}/${this.#identity}/${this.#processes}`,
      state: 'alive',
      isAlive: () => process.state === 'alive',
      life: new AbortController(),
      line: this.#line,
    }
    this.#process = process
    const clock = new ProcessClock(time, process.isAlive, this.#offsetMs, this.#rate)
    const ports = {
      claims: this.#claimsFor(process),
      clock,
      log: { warn: () => {} },
      runner: this.#runnerOf(process),
    }
    const described = { name, identity: this.#identity, process: process.id, protocol, labels, slots }
    process.worker = new Worker(ports, described, { drainTimeoutMs: 60_000 })
    void this.#restartOnceEnded(process, process.worker)
  }

  /** The queue, as a process reaches it. */
  #claimsFor(process: Process): Claims {
    const { chance, claims, network, oracle } = this.#world
    return {
      claim: async (request) => {
        const answer = await network.call(process, () => oracle.claim(request, () => claims.claim(request)))
        if (answer.type === 'claimed') this.#point(process)
        return answer
      },
      payload: (claim) => network.call(process, () => claims.payload(claim)),
      beat: (fence, beat) =>
        network.call(process, () => oracle.beat(fence, beat, () => claims.beat(fence, beat))),
      settle: async (fence, settlement) => {
        this.#point(process)
        await this.#onlyAlive(process)
        const isTaken = await network.call(process, () =>
          oracle.settle(fence, settlement, () => claims.settle(fence, settlement)),
        )
        this.#point(process)
        await this.#onlyAlive(process)
        return isTaken
      },
      watch: (onChange) =>
        claims.watch((change) => {
          const isHeard = change.type === 'asked' ? chance.happens(0.5) : this.#options.hearsOffers
          if (isHeard) onChange(change)
        }, process.life.signal),
    }
  }

  async #restartOnceEnded(process: Process, { ended }: Worker): Promise<void> {
    const { type } = await ended
    this.#end(process)
    // The one that replaced it runs, unless that was an earlier one, whose request came late.
    if (type !== 'replaced' || process === this.#process) this.#restart()
  }

  drain(): void {
    this.#process?.worker?.drain()
  }

  kill(): void {
    const process = this.#process
    if (!process || process.state === 'dead') return
    this.#kill(process)
  }

  partition(ms: number, what: 'calls' | 'answers' | 'both'): void {
    this.#world.network.cut(this.#line, ms, what)
  }

  /** The machine is gone with its disk, and a new one gets its name. */
  replaceDisk(): void {
    for (const session of this.#sessions.values()) this.#endSession(session, { outcome: 'gone' })
    this.#sessions = new Map()
    this.#identity = `${this.#identity}'`
    this.kill()
  }

  #end(process: Process): void {
    process.state = 'dead'
    process.life.abort()
  }

  #kill(process: Process): void {
    this.#end(process)
    this.#world.oracle.figures.kills += 1
    if (process === this.#process) this.#restart()
  }

  #restart(): void {
    const { chance, time } = this.#world
    // Some are away for longer than a job waits for them.
    const wait = chance.happens(0.1) ? chance.between(300_000, 500_000) : 1000 + chance.around(30_000)
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
        const work = payload as Work
        if (this.#world.chance.happens(work.startFails)) throw new Error('no room on the disk')
        const session: Session = {
          work,
          state: 'prepared',
          result: { outcome: 'failed' },
          checkpoints: 0,
          watchers: new Set([process]),
          onEnd: new Set(),
        }
        this.#sessions.set(job, session)
        void this.#prompt(process, job, session, accepted)
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

  async #prompt(
    process: Process,
    job: string,
    session: Session,
    accepted: () => Promise<void>,
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
    session.agent = {
      job,
      disk: this.#identity,
      state: 'working',
      isWatched: () => [...session.watchers].some((watcher) => watcher.isAlive()),
      isWatchedBy: (id) => [...session.watchers].some((watcher) => watcher.id === id),
    }
    this.#world.oracle.prompted(session.agent, process.id)
    this.#point(process)
    this.#world.time.after(session.work.ms, () => this.#endSession(session, { outcome: 'completed' }))
  }

  #runOf(process: Process, session: Session, job: string): RunningJob {
    const { chance, oracle, overloads, time } = this.#world
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
      backoff: () => {
        const forMs = (overloads.get(session.work.provider) ?? 0) - time.now
        if (forMs <= 0 || chance.happens(0.7)) return undefined
        return { providerID: session.work.provider, forMs: forMs * chance.between(0.3, 1) }
      },
      say: async (text) => {
        await this.#pause(process, 15_000)
        if (session.state !== 'working') return false
        oracle.heard(job, process.id, text)
        return true
      },
      stop: () => {
        if (session.state === 'ended') return
        if (session.agent) session.agent.state = 'stopping'
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
