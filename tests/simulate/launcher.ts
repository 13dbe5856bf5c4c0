/** A process of OpenCode that offers jobs, and tells each end once. It dies and starts again; its records stay. */
import type { JobState, Jobs } from '../../src/fleet/launcher/jobs.ts'
import { callWithin } from '../../src/fleet/call-within.ts'
import type { Line, Link } from './network.ts'
import type { Work, World } from './machine.ts'
import { ProcessClock } from './sim-clock.ts'

export interface Task extends Work {
  readonly id: string
  readonly model: string
  readonly labels: readonly string[]
  readonly cancelAfterMs: number
}

/** A record, as it is in a session: what a launch leaves to the next process. */
interface Record {
  readonly task: Task
  state: 'offering' | 'offered' | 'told' | 'acknowledged'
}

interface Process extends Link {
  state: 'alive' | 'dead'
}

const POLL_MS = 20_000
/** Changes come in bursts. */
const LOOK_MS = 5000

export class Launcher {
  readonly owner: string
  readonly #world: World
  readonly #jobs: Jobs
  readonly #tasks: Task[]
  /** How many jobs are under way. */
  readonly #open: number
  readonly #records = new Map<string, Record>()
  readonly #line: Line = { callsCutUntil: 0, answersCutUntil: 0 }
  #process!: Process
  #wake = (): void => {}

  constructor(world: World, owner: string, jobs: Jobs, tasks: Task[], open: number) {
    this.#open = open
    this.#world = world
    this.owner = owner
    this.#jobs = jobs
    this.#tasks = tasks
    jobs.watch(() => this.#wake(), new AbortController().signal)
    this.#start()
  }

  get isDone(): boolean {
    return this.#tasks.length === 0 && this.#records.size === 0
  }

  /** Asks for the end of a job, if it is open. */
  cancel(id: string): void {
    const record = this.#records.get(id)
    if (record) void this.#cancel(this.#process, record)
  }

  partition(ms: number, what: 'calls' | 'answers' | 'both'): void {
    this.#world.network.cut(this.#line, ms, what)
  }

  /** Ends the process, and starts the next one. */
  restart(awayMs: number): void {
    if (!this.#process.isAlive()) return
    this.#process.state = 'dead'
    this.#wake = () => {}
    this.#world.time.after(awayMs, () => this.#start())
  }

  #start(): void {
    const process: Process = {
      state: 'alive',
      isAlive: () => process.state === 'alive',
      line: this.#line,
    }
    this.#process = process
    void this.#run(process)
  }

  async #run(process: Process): Promise<void> {
    for (const record of this.#records.values()) if (isOpen(record)) void this.#recover(process, record)
    while (process.isAlive() && !this.isDone) {
      while (this.#records.size < this.#open && this.#tasks.length > 0)
        this.#launch(process, this.#tasks.pop()!)
      await this.#look(process)
      await this.#pause(process)
    }
  }

  #launch(process: Process, task: Task): void {
    const record: Record = { task, state: 'offering' }
    const { chance, oracle, time } = this.#world
    this.#records.set(task.id, record)
    oracle.launched(this.#keyOf(task), task)
    void this.#offer(process, record)
    if (task.cancelAfterMs < Infinity)
      time.after(task.cancelAfterMs, () => void this.#cancel(this.#process, record))
    if (chance.happens(0.2))
      time.after(chance.around(60_000), () => {
        if (record.state === 'offered')
          void this.#untilAnswered(this.#process, () =>
            oracle.say(this.#keyOf(task), 'hello', () =>
              this.#jobs.say(task.id, { id: 'm1', text: 'hello' }),
            ),
          )
      })
  }

  async #offer(process: Process, record: Record): Promise<void> {
    const { id, labels, model, ms, provider, startFails } = record.task
    const payload: Work = { ms, provider, startFails }
    await this.#untilAnswered(process, () => this.#jobs.offer({ id, labels, provider, model, payload }))
    if (process.isAlive() && record.state === 'offering') record.state = 'offered'
  }

  /** The process before has left an offer: it may not have arrived, or its cancel may have come first. */
  async #recover(process: Process, record: Record): Promise<void> {
    const { id } = record.task
    const states = await this.#untilAnswered(process, () => this.#jobs.states([id]))
    const isKnown = states?.has(id) || (await this.#untilAnswered(process, () => this.#cancelAtQueue(id)))
    if (!process.isAlive() || !isOpen(record)) return
    if (isKnown) record.state = 'offered'
    else this.#tell(record, undefined)
  }

  async #cancel(process: Process, record: Record): Promise<void> {
    if (!isOpen(record)) return
    this.#world.oracle.note(this.#keyOf(record.task), 'cancel asked')
    const isKnown = await this.#untilAnswered(process, () => this.#cancelAtQueue(record.task.id))
    if (process.isAlive() && isKnown === false && isOpen(record)) this.#tell(record, undefined)
  }

  #cancelAtQueue(id: string): Promise<boolean> {
    return this.#world.oracle.cancel(() => this.#jobs.cancel(id))
  }

  async #look(process: Process): Promise<void> {
    const ids = [...this.#records.values()]
      .filter(({ state }) => state !== 'offering')
      .map(({ task }) => task.id)
    if (ids.length === 0) return
    const states = await this.#ask(process, () => this.#jobs.states(ids)).catch(() => undefined)
    if (!states || !process.isAlive()) return
    for (const id of ids) {
      const record = this.#records.get(id)
      const state = states.get(id)
      if (record?.state === 'offered' && state?.type === 'ended') this.#tell(record, state)
      if (record?.state === 'told') void this.#acknowledge(process, record)
    }
  }

  #tell(record: Record, state: JobState | undefined): void {
    record.state = state ? 'told' : 'acknowledged'
    this.#world.oracle.told(this.#keyOf(record.task), state)
    if (!state) this.#records.delete(record.task.id)
  }

  async #acknowledge(process: Process, record: Record): Promise<void> {
    try {
      await this.#ask(process, () => this.#jobs.acknowledge(record.task.id))
      if (process.isAlive()) this.#records.delete(record.task.id)
    } catch {
      // Once more at the next look.
    }
  }

  async #untilAnswered<Value>(process: Process, verb: () => Promise<Value>): Promise<Value | undefined> {
    while (process.isAlive()) {
      try {
        return await this.#ask(process, verb)
      } catch {
        await this.#world.time.wait(2000)
      }
    }
    return undefined
  }

  #ask<Value>(process: Process, verb: () => Promise<Value>): Promise<Value> {
    const { network, time } = this.#world
    return callWithin(new ProcessClock(time, process.isAlive), 10_000, network.call(process, verb))
  }

  #pause(process: Process): Promise<void> {
    const { time } = this.#world
    return new Promise((resolve) => {
      const cancel = time.after(POLL_MS, () => {
        if (process.isAlive()) resolve()
      })
      this.#wake = () => {
        this.#wake = () => {}
        cancel()
        time.after(LOOK_MS, () => {
          if (process.isAlive()) resolve()
        })
      }
    })
  }

  #keyOf({ id }: Task): string {
    return `${this.owner}/${id}`
  }
}

/** Whether the end of a job is not known yet. */
function isOpen({ state }: Record): boolean {
  return state === 'offering' || state === 'offered'
}
