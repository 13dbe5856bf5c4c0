/** A stage for race tests: the real manager over the fake host, on a clock that the test moves. */
import type { Owners } from '../../src/task/owner.ts'
import { BackgroundManager } from '../../src/manager.ts'
import type { Client, Opencode } from '../../src/opencode.ts'
import type { Task } from '../../src/task/task.ts'
import { FakeHost } from './fake-host.ts'
import { ManualClock } from './manual-clock.ts'
import type { ModelRequest, Reply } from './script.ts'

export interface FakeStage {
  readonly clock: ManualClock
  readonly host: FakeHost
  readonly manager: BackgroundManager
  /** Kills the process, and starts another with a manager of its own. */
  readonly crash: () => void
  readonly parentID: string
  /** What was logged as a warning or an error. */
  readonly complaints: readonly string[]
  /** Launches a task; its prompt is its description. */
  readonly launch: (description: string) => Promise<Task>
  /** Answers the child that was asked `description`, or that will be. */
  readonly answer: (description: string, reply?: Reply) => void
  /** Answers all children that wait, or ever will. */
  readonly answerAll: () => void
  /** The texts of all notices in the parent, the oldest first. */
  readonly notices: () => readonly string[]
  /** The model calls of the parent that had a notice as their newest message. */
  readonly noticeTurns: () => readonly ModelRequest[]
}

/** The owners as seen by the process `pid`: those of all other processes are gone. */
function ownersOf(pid: number): Owners {
  const self = { name: 'test', directory: '/project', host: 'test', pid, process: `${pid}` }
  return { self, isGone: (owner) => owner.pid !== pid }
}

/** The children wait until they are answered; the parent's model has nothing to say. */
export function createFakeStage(options: object = {}): FakeStage {
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
  const log = { debug: () => {}, warn: complain }
  let pid = 0
  let manager: BackgroundManager
  const start = (): void => {
    pid += 1
    manager = new BackgroundManager(
      // The ports stand in for what it would make of the client.
      { client: {} as Client, directory: '/project', options },
      { opencode: mortal(host.opencode), clock, log, owners: ownersOf(pid) },
    )
    const own = manager
    host.onEvent((event) => own.handleEvent(event))
    host.onChatMessage = (sessionID, message) => own.handleChatMessage({ sessionID }, message)
  }
  let kill = (): void => {}
  /** The host's port, until the process that uses it is killed: from then on no call comes back. */
  const mortal = (port: Opencode): Opencode => {
    let isAlive = true
    kill = () => {
      isAlive = false
    }
    return new Proxy(port, {
      get: (target, name: keyof Opencode) =>
        isAlive ? target[name].bind(target) : () => new Promise(() => {}),
    })
  }
  start()

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
    crash() {
      kill()
      host.crash()
      start()
    },
    parentID,
    complaints,
    launch: (description) => manager.launch({ parentID, agent: 'general', prompt: description, description }),
    answer: (description, reply = { text: `result of ${description}` }) =>
      replyTo(description).resolve(reply),
    answerAll() {
      isAnswered = true
      for (const { resolve } of replies.values()) resolve({ text: 'at last' })
    },
    notices,
    noticeTurns: () =>
      host.modelRequests.filter(
        ({ sessionID, messages }) =>
          sessionID === parentID && messages.at(-1)?.content.includes('<background_task ') === true,
      ),
  }
}
