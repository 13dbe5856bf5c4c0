/** A stage for race tests: the real manager over the fake host, on a clock that the test moves. */
import type { Machine } from '../../src/work/command/machine.ts'
import type { Owners } from '../../src/task/owner.ts'
import { BackgroundManager, type OutputOptions, type TaskReport } from '../../src/manager.ts'
import type { Client, Opencode } from '../../src/host/opencode.ts'
import { isEnded, type Task } from '../../src/task/task.ts'
import { FakeHost } from './fake-host.ts'
import { lookAfterTest } from './left.ts'
import { ManualClock, OwnClock } from './manual-clock.ts'
import type { ModelRequest, Reply } from './script.ts'

/** What an instance that has ended still does. */
export interface OldInstance {
  readonly disposed: Promise<void>
  /** What it has asked of the host since its end. */
  readonly calls: readonly (keyof Opencode)[]
  /** How many timers it still has. */
  readonly pendingTimers: () => number
}

export interface FakeStage {
  readonly clock: ManualClock
  readonly host: FakeHost
  readonly manager: BackgroundManager
  /** Starts another process beside this one, which lives on; from now on the user is at work in the new one. */
  readonly second: () => void
  /** Kills the process, and starts another with a manager of its own. */
  readonly crash: () => void
  /**
   * Ends the instance as a change of the configuration does, `ms` after its sessions were aborted, and starts another.
   * Resolves with what is left of the old one, which goes on writing its records.
   */
  readonly restart: (ms: number) => Promise<OldInstance>
  /** Sets the time of the plugin's machine so many milliseconds later, or earlier; the host's stays. */
  readonly setTime: (ms: number) => void
  readonly parentID: string
  /** What was logged as a warning or an error. */
  readonly complaints: readonly string[]
  /** What was logged of the steps of tasks, as `id: event, status`. */
  readonly steps: readonly string[]
  /** Launches a task; its prompt is its description. */
  readonly launch: (description: string) => Promise<Task>
  /** Answers the child that was asked `description`, or that will be. */
  readonly answer: (description: string, reply?: Reply) => void
  /** Answers all children that wait, or ever will. */
  readonly answerAll: () => void
  /**
   * Has the parent's model read a task by a tool call, upon a message of the user's; resolves with what the tool was given,
   * before the call is stored. The tool waits for `start` before it reads, and for `end` before it returns.
   */
  readonly read: (
    taskID: string,
    options?: OutputOptions,
    moments?: { readonly start?: Promise<unknown>; readonly end?: Promise<unknown> },
  ) => Promise<TaskReport>
  /** The texts of all notices in the parent, the oldest first. */
  readonly notices: () => readonly string[]
  /** The model calls of the parent that had a notice as their newest message. */
  readonly noticeTurns: () => readonly ModelRequest[]
}

/** The owners as seen by the process `pid`: those of all other processes are gone, but for the `living`. */
function ownersOf(pid: number, living: ReadonlySet<number>): Owners {
  const self = { name: 'test', directory: '/project', host: 'test', pid, process: `${pid}` }
  return { self, isGone: (owner) => owner.pid !== pid && !living.has(owner.pid) }
}

/** How long the next instance takes to start, in which what is on its way from the last one arrives. */
const INSTANCE_START_MS = 100

/** What a manager has of the world: the host's port and the clock, for as long as its process lives. */
class Instance {
  readonly opencode: Opencode
  readonly clock: OwnClock
  readonly calls: (keyof Opencode)[] = []
  #isAlive = true

  constructor(port: Opencode, clock: ManualClock) {
    this.clock = new OwnClock(clock)
    this.opencode = new Proxy(port, {
      get: (target, name: keyof Opencode) => {
        // From a process that was killed no call goes out, and none comes back.
        if (!this.#isAlive) return () => new Promise(() => {})
        this.calls.push(name)
        return target[name].bind(target)
      },
    })
  }

  kill(): void {
    this.#isAlive = false
    this.clock.stop()
  }
}

/** Commands are real processes, and no matter of the fake host. */
export const NO_MACHINE: Machine = {
  root: '/nonexistent',
  shell: '/nonexistent',
  env: {},
  onTermination: () => () => {},
}

/** After this, whatever can still come has come: start timeouts, back-offs and retries. */
const LONG_MS = 600_000
const A_WHILE_MS = 60_000

/** The children wait until they are answered; the parent's model has nothing to say. */
export function createFakeStage(options: object = {}, { isRun = true } = {}): FakeStage {
  const clock = new ManualClock()
  let isAnswered = false
  const replies = new Map<string, { promise: Promise<Reply>; resolve: (reply: Reply) => void }>()
  const replyTo = (description: string): { promise: Promise<Reply>; resolve: (reply: Reply) => void } => {
    const known = replies.get(description)
    if (known) return known
    let resolve: (reply: Reply) => void = () => {}
    const promise = new Promise<Reply>((settle) => {
      resolve = settle
    })
    const created = { promise, resolve: (reply: Reply) => resolve(reply) }
    if (isAnswered) resolve({ text: 'at last' })
    replies.set(description, created)
    return created
  }
  const host = new FakeHost(clock, ({ sessionID, messages }) => {
    const asked = messages.findLast(({ role }) => role === 'user')?.content ?? ''
    return sessionID === parentID ? { text: 'Noted.' } : replyTo(asked).promise
  })
  const parentID = host.createRootSession().id
  const complaints: string[] = []
  const complain = (message: string): void => void complaints.push(message)
  const steps: string[] = []
  const log = { debug: (message: string) => void steps.push(message), warn: complain }
  let pid = 0
  const living = new Set<number>()
  let manager: BackgroundManager
  let instance: Instance
  const instances: Instance[] = []
  const startInstance = (): void => {
    pid += 1
    instance = new Instance(host.opencode, clock)
    instances.push(instance)
    manager = new BackgroundManager(
      // The ports stand in for what it would make of the client.
      { client: {} as Client, directory: '/project', options },
      {
        opencode: instance.opencode,
        clock: instance.clock,
        log,
        owners: ownersOf(pid, living),
        machine: NO_MACHINE,
        isRun,
      },
    )
    const hooks = manager.hooks()
    host.onEvent((event) => void hooks.event({ event }))
    host.onChatMessage = (sessionID, message) => hooks['chat.message']({ sessionID }, message)
    host.onMessagesRead = (messages) => void hooks['experimental.chat.messages.transform']({}, { messages })
  }
  startInstance()

  /** What is left of the stage: timers and calls while nothing is at work, and timers of an instance that has ended. */
  async function left(): Promise<readonly string[]> {
    const isAtWork = (): boolean =>
      host.sessionIDs.some((id) => {
        const task = manager.findBySession(id)
        return host.isBusy(id) || (task !== undefined && !isEnded(task))
      })
    const timersOfAll = (): number => instances.reduce((sum, each) => sum + each.clock.pending, 0)
    const timers = isAtWork() ? 0 : timersOfAll()
    await clock.advance(LONG_MS)
    const calls = host.calls.length
    await clock.advance(A_WHILE_MS)
    const asked = isAtWork() ? [] : host.calls.slice(calls)
    host.abortAll()
    await Promise.all([manager.dispose(), clock.advance(A_WHILE_MS)])
    const pending = timersOfAll()
    return [
      ...(timers > 0 ? [`${timers} timers while nothing is at work`] : []),
      ...asked.map(({ method }) => `a call of ${method} while nothing is at work`),
      ...(pending > 0 ? [`${pending} timers of an instance that has ended`] : []),
    ]
  }
  lookAfterTest(left)

  const notices = (): readonly string[] =>
    host
      .messagesOf(parentID)
      .flatMap(({ parts }) => parts)
      .flatMap((part) =>
        part.type === 'text' && part.text.trimStart().startsWith('<background_task ') ? [part.text] : [],
      )

  return {
    clock,
    host,
    get manager() {
      return manager
    },
    second() {
      living.add(pid)
      startInstance()
    },
    crash() {
      instance.kill()
      host.crash()
      startInstance()
    },
    async restart(ms) {
      host.abortAll()
      await clock.advance(ms)
      const { calls, clock: ownClock } = instance
      calls.length = 0
      const disposed = manager.dispose()
      host.endInstance()
      await clock.advance(INSTANCE_START_MS)
      startInstance()
      return { disposed, calls, pendingTimers: () => ownClock.pending }
    },
    setTime: (ms) => instance.clock.set(ms),
    parentID,
    complaints,
    steps,
    launch: (description) => manager.launch({ parentID, agent: 'general', prompt: description, description }),
    answer: (description, reply = { text: `result of ${description}` }) =>
      replyTo(description).resolve(reply),
    answerAll() {
      isAnswered = true
      for (const { resolve } of replies.values()) resolve({ text: 'at last' })
    },
    read: (taskID, how, { start, end } = {}) =>
      new Promise((resolve, reject) => {
        host.callTool(parentID, async (callID) => {
          const reader = { sessionID: parentID, callID }
          await start
          const reading = manager.output(taskID, { ...how, reader })
          reading.then(resolve, reject)
          const { task, receipt } = await reading
          await end
          return { output: task.status, metadata: { ...receipt } }
        })
      }),
    notices,
    noticeTurns: () =>
      host.modelRequests.filter(
        ({ sessionID, messages }) =>
          sessionID === parentID && messages.at(-1)?.content.includes('<background_task ') === true,
      ),
  }
}
