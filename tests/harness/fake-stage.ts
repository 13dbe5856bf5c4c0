/** The stage of race tests: the real manager over the fake host, on a clock that the test moves. */
import type { Machine } from '../../src/work/command/this-machine.ts'
import type { Owners } from '../../src/task/owner.ts'
import { BackgroundManager } from '../../src/manager.ts'
import type { OutputOptions, TaskReport } from '../../src/task-reader.ts'
import type { Client, Opencode } from '../../src/host/opencode.ts'
import { isEnded, type Task } from '../../src/task/task.ts'
import { FakeHost } from './fake-host.ts'
import { lookAfterTest } from './left.ts'
import { ManualClock, OwnClock } from './manual-clock.ts'
import type { ModelRequest, Reply } from './script.ts'

/** The remaining activity of an ended instance. */
export interface OldInstance {
  readonly disposed: Promise<void>
  /** Its calls of the host since its end. */
  readonly calls: readonly (keyof Opencode)[]
  /** The number of its pending timers. */
  readonly pendingTimers: () => number
}

export interface FakeStage {
  readonly clock: ManualClock
  readonly host: FakeHost
  readonly manager: BackgroundManager
  /** The id of the process that runs the manager. */
  readonly pid: number
  /** Starts a second process, in which the user works from now on; the first one stays alive. */
  readonly second: () => void
  /** Kills the process, and starts another with its own manager; OpenCode ends too, if it is the same process. */
  readonly crash: () => void
  /**
   * Ends the instance as a change of the configuration does, `ms` after its sessions were aborted, and starts
   * another. Resolves with the old one, which still writes its records.
   */
  readonly restart: (ms: number) => Promise<OldInstance>
  /** Moves the wall clock of the plugin's machine by `ms`, without time passing; the host's stays. */
  readonly setTime: (ms: number) => void
  readonly parentID: string
  /** The logged warnings and errors. */
  readonly complaints: readonly string[]
  /** The logged steps of tasks, as `id: event, status`. */
  readonly steps: readonly string[]
  /** Launches a task; its prompt is its description. */
  readonly launch: (description: string, after?: readonly string[]) => Promise<Task>
  /** Answers the child with the prompt `description`, now or when it asks. */
  readonly answer: (description: string, reply?: Reply) => void
  /** Answers all children, now and later. */
  readonly answerAll: () => void
  /**
   * Sends a user message upon which the parent's model reads a task by a tool call; resolves with the tool's report before
   * the call is stored. The tool waits for `start` before it reads, and for `end` before it returns.
   */
  readonly read: (
    taskID: string,
    options?: OutputOptions,
    moments?: { readonly start?: Promise<unknown>; readonly end?: Promise<unknown> },
  ) => Promise<TaskReport>
  /** Returns the texts of all notices in the parent, oldest first. */
  readonly notices: () => readonly string[]
  /** Returns the parent's model requests whose newest message was a notice. */
  readonly noticeTurns: () => readonly ModelRequest[]
}

/** Returns the owners as the process `pid` sees them: of the other processes only the `living` exist. */
function ownersOf(pid: number, living: ReadonlySet<number>): Owners {
  const self = { name: 'test', directory: '/project', host: 'test', pid, process: `${pid}` }
  return { self, isGone: (owner) => owner.pid !== pid && !living.has(owner.pid) }
}

/** Start time of an instance, in which calls on their way from the last one arrive. */
const INSTANCE_START_MS = 100

/** The ports of one manager: the host and the clock, for as long as its process lives. */
class Instance {
  readonly opencode: Opencode
  readonly clock: OwnClock
  readonly calls: (keyof Opencode)[] = []
  #isAlive = true

  constructor(port: Opencode, clock: ManualClock) {
    this.clock = new OwnClock(clock)
    this.opencode = new Proxy(port, {
      get: (target, name: keyof Opencode) => {
        // A killed process sends no call and receives no answer.
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

/** A machine without commands, which are real processes and so outside of the fake host. */
export const NO_MACHINE: Machine = {
  root: '/nonexistent',
  shell: '/nonexistent',
  env: {},
  onTermination: () => () => {},
}

// The manager loads them lazily, which takes longer than a settled clock waits.
await Promise.all([
  import('../../src/event-stream.ts'),
  import('../../src/launch/after-restart.ts'),
  import('../../src/launch/budgets.ts'),
  import('../../src/launch/followers.ts'),
  import('../../src/parent/forks.ts'),
  import('../../src/tools/cancelling.ts'),
  import('../../src/tools/task-calls.ts'),
  import('../../src/tools/unknown-task.ts'),
  import('../../src/request-answers.ts'),
  import('../../src/work/command/monitor/monitor.ts'),
  import('../../src/work/command/orphan-reaper.ts'),
  import('../../src/work/command/recover-command.ts'),
  import('../../src/work/command/remove-old.ts'),
  import('../../src/work/agent/recover-agent.ts'),
  import('../../src/tools/arguments.ts'),
])

/** Longer than all start timeouts, back-offs and retries. */
const LONG_MS = 600_000
const A_WHILE_MS = 60_000

/**
 * Creates a stage whose children wait for `answer`; the parent's model answers `Noted.` to everything.
 *
 * @param circumstances `isRun`: the process is `opencode run`. `isOutside`: the manager is in another process than OpenCode
 */
export function createFakeStage(
  options: object = {},
  {
    isRun = true,
    isOutside = false,
    machine = NO_MACHINE,
  }: { readonly isRun?: boolean; readonly isOutside?: boolean; readonly machine?: Machine } = {},
): FakeStage {
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
    const said = messages.findLast(({ role }) => role === 'user')?.content ?? ''
    // The prompt of a follower ends with the results of the tasks for which it has waited.
    const [asked = ''] = said.split('\n\nResults of the tasks')
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
    living.add(pid)
    instance = new Instance(host.opencode, clock)
    instances.push(instance)
    manager = new BackgroundManager(
      // The ports replace those that the manager would build from the client.
      { client: {} as Client, directory: '/project', options },
      {
        opencode: instance.opencode,
        clock: instance.clock,
        log,
        owners: ownersOf(pid, living),
        machine,
        isRun,
      },
    )
    if (isOutside) {
      void manager.follow()
      return
    }
    const hooks = manager.hooks()
    host.onEvent((event) => void hooks.event({ event }))
    host.onChatMessage = (sessionID, message) => hooks['chat.message']({ sessionID }, message)
    host.onMessagesRead = (messages) => void hooks['experimental.chat.messages.transform']({}, { messages })
  }
  startInstance()

  const timersOfAll = (): number => instances.reduce((sum, each) => sum + each.clock.pending, 0)

  /** Returns the leaks of the stage: timers and calls while nothing is at work, and timers of ended instances. */
  async function left(): Promise<readonly string[]> {
    const isAtWork = (): boolean =>
      host.sessionIDs.some((id) => {
        const task = manager.findBySession(id)
        return host.isBusy(id) || (task !== undefined && !isEnded(task))
      })
    const atRest = isAtWork() ? [] : await restlessness()
    host.abortAll()
    await Promise.all([manager.dispose(), clock.advance(A_WHILE_MS)])
    const pending = timersOfAll()
    return [...atRest, ...(pending > 0 ? [`${pending} timers of an instance that has ended`] : [])]
  }

  /** Returns the timers and calls of a stage where nothing is at work. */
  async function restlessness(): Promise<readonly string[]> {
    // A manager that follows the event stream watches whether it is silent.
    const timers = timersOfAll() - (isOutside ? living.size : 0)
    await clock.advance(LONG_MS)
    const calls = host.calls.length
    await clock.advance(A_WHILE_MS)
    return [
      ...(timers > 0 ? [`${timers} timers while nothing is at work`] : []),
      ...host.calls.slice(calls).map(({ method }) => `a call of ${method} while nothing is at work`),
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
    get pid() {
      return pid
    },
    second() {
      startInstance()
    },
    crash() {
      instance.kill()
      living.delete(pid)
      if (isOutside) host.breakStreams()
      else host.crash()
      startInstance()
    },
    async restart(ms) {
      host.abortAll()
      await clock.advance(ms)
      const { calls, clock: ownClock } = instance
      calls.length = 0
      const disposed = manager.dispose()
      living.delete(pid)
      host.endInstance()
      await clock.advance(INSTANCE_START_MS)
      startInstance()
      return { disposed, calls, pendingTimers: () => ownClock.pending }
    },
    setTime: (ms) => instance.clock.set(ms),
    parentID,
    complaints,
    steps,
    launch: (description, after) =>
      manager.launch({ parentID, agent: 'general', prompt: description, description, after }),
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
