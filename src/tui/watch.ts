/**
 * Holds the current tasks of one session: loads them once, then updates them by the host's events. A timer runs only while a task
 * is at work and a subscriber shows running times; it notifies such subscribers each second.
 */
import type { Event, Part, PermissionRequest, Session, SessionStatus } from '@opencode-ai/sdk/v2'
import type { Clock } from '../clock.ts'
import { readRecord } from '../task/record.ts'
import type { Step } from '../task/step.ts'
import { isEnded, type Task } from '../task/task.ts'
import type { Host } from './host.ts'
import { doing, isUnfinished, NOT_SEEN, treeOf, viewOf, type Live, type TaskView } from './task-view.ts'

interface Ports {
  readonly host: Pick<Host, 'children' | 'statuses' | 'permissions' | 'messages'>
  readonly clock: Clock
  /** The project's directory, which is stripped from shown paths. */
  readonly directory: () => string
  /** Has the server part update the records of the task and its siblings whose owner is gone. */
  readonly refreshRecords: (task: Task) => Promise<unknown>
}

interface Child {
  session: Session
  task: Task
  live: Live
  steps: readonly Step[]
}

const TICK_MS = 1000

export class Watch {
  readonly #ports: Ports
  readonly #parentID: string
  readonly #children = new Map<string, Child>()
  readonly #subscribers = new Set<() => void>()
  /** The subscribers that show running times. */
  readonly #timeSubscribers = new Set<() => void>()
  /** Events that arrived during a load. They are handled after it, because its answer may be older than they are. */
  #meanwhile: Event[] | undefined
  #loaded: Promise<boolean> | undefined
  #views: readonly TaskView[] | undefined
  #isToTell = false
  #cancelTick: (() => void) | undefined

  constructor(ports: Ports, parentID: string) {
    this.#ports = ports
    this.#parentID = parentID
  }

  /** The tasks, oldest first. */
  get views(): readonly TaskView[] {
    this.#views ??= [...this.#children.values()]
      .toSorted((a, b) => a.session.time.created - b.session.time.created)
      .map(({ task, session, live, steps }) => viewOf(task, session, live, steps))
    return this.#views
  }

  /** Loads the tasks once; resolves with whether they are known. Never rejects. */
  load(): Promise<boolean> {
    this.#loaded ??= this.#load().catch(() => {
      // The next event of the session retries.
      this.#loaded = undefined
      return false
    })
    return this.#loaded
  }

  /** Loads again, because events may have been missed. */
  reload(): void {
    this.#loaded = undefined
    void this.load()
  }

  /** Notifies the subscriber of each change, and with `showsTimes` also each second while a task is at work. */
  subscribe(subscriber: () => void, showsTimes = false): () => void {
    this.#subscribers.add(subscriber)
    if (showsTimes) this.#timeSubscribers.add(subscriber)
    this.#tick()
    return () => {
      this.#subscribers.delete(subscriber)
      this.#timeSubscribers.delete(subscriber)
      this.#tick()
    }
  }

  /** Handles an event synchronously; cheap where it concerns no task of the session. */
  handleEvent(event: Event): void {
    if (this.#meanwhile) this.#meanwhile.push(event)
    else this.#handle(event)
    if (!this.#loaded && this.#isOurs(event)) void this.load()
  }

  dispose(): void {
    this.#subscribers.clear()
    this.#timeSubscribers.clear()
    this.#tick()
  }

  #handle(event: Event): void {
    switch (event.type) {
      case 'session.created':
      case 'session.updated':
        if (event.properties.info.parentID === this.#parentID) this.#see(event.properties.info)
        return
      case 'session.deleted':
        if (this.#children.delete(event.properties.info.id)) this.#changed()
        return
      case 'session.status':
        this.#statusChanged(event.properties.sessionID, event.properties.status)
        return
      case 'message.part.updated':
        this.#worked(event.properties.sessionID, event.properties.part)
        return
      case 'permission.asked': {
        const { sessionID, id } = event.properties
        this.#update(sessionID, ({ permissionRequests }) => ({
          permissionRequests: [...permissionRequests.filter((ask) => ask.id !== id), event.properties],
        }))
        return
      }
      case 'permission.replied': {
        const { sessionID, requestID } = event.properties
        this.#update(sessionID, ({ permissionRequests }) => ({
          permissionRequests: permissionRequests.filter((ask) => ask.id !== requestID),
        }))
        return
      }
      default:
        return
    }
  }

  async #load(): Promise<boolean> {
    const { host } = this.#ports
    const meanwhile: Event[] = []
    this.#meanwhile = meanwhile
    const load = async () => {
      const found = await host.children(this.#parentID)
      const others = treesOf(found)
      return [found, ...(await Promise.all([host.statuses(others), host.permissions(others)]))] as const
    }
    const [children, statuses, permissions] = await load().finally(() => {
      if (this.#meanwhile === meanwhile) this.#meanwhile = undefined
    })
    const ids = new Set(children.map(({ id }) => id))
    for (const id of this.#children.keys()) if (!ids.has(id)) this.#children.delete(id)
    for (const session of children) {
      this.#see(session)
      const status = statuses[session.id]
      if (status) this.#statusChanged(session.id, status)
      else this.#forgetRun(session.id)
      this.#update(session.id, () => ({ permissionRequests: asksOf(session, permissions) }))
    }
    this.#changed()
    for (const event of meanwhile) this.#handle(event)
    this.#refreshRecords()
    await Promise.all(children.map(({ id }) => this.#readBusy(id)))
    return true
  }

  /** Requests an update for an unfinished task in an idle session: no event reports that its owner is gone. */
  #refreshRecords(): void {
    const idle = [...this.#children.values()].find(
      ({ task, live }) => !isEnded(task) && live.status.type === 'idle',
    )
    // Without an answer the view stays as recorded.
    if (idle) this.#ports.refreshRecords(idle.task).catch(() => {})
  }

  /** Discards the state that was observed before the connection was lost. */
  #forgetRun(sessionID: string): void {
    const child = this.#children.get(sessionID)
    if (child) child.live = NOT_SEEN
  }

  /** Reads the activity and the tool calls of a busy task from before the load. */
  async #readBusy(sessionID: string): Promise<void> {
    const child = this.#children.get(sessionID)
    if (!child || !('promptIDs' in child.task)) return
    if (isEnded(child.task) || child.live.status.type === 'idle') return
    const { run, promptIDs } = child.task
    const messages = await this.#ports.host.messages(sessionID)
    const start = messages.findIndex(({ info }) => promptIDs.includes(info.id))
    const parts = start === -1 ? [] : messages.slice(start + 1).flatMap((message) => message.parts)
    const activity = parts.map((part) => this.#doing(part, child)).findLast((text) => text !== undefined)
    const calls = parts.flatMap(({ type, id }) => (type === 'tool' ? [id] : []))
    const begunAt = messages[start]?.info.time.created
    if (this.#children.get(sessionID)?.task.run !== run) return
    this.#update(sessionID, (live) => ({
      toolCallIDs: new Set([...calls, ...(live.toolCallIDs ?? [])]),
      ...(begunAt !== undefined && { begunAt }),
      ...(activity !== undefined && { activity: live.activity ?? activity }),
    }))
  }

  #isOurs(event: Event): boolean {
    if (event.type !== 'session.updated') return false
    const { id, parentID } = event.properties.info
    return id === this.#parentID || parentID === this.#parentID
  }

  #see(session: Session): void {
    const record = readRecord(session)
    if (record?.task.parentID !== this.#parentID) return
    const { task, steps } = record
    const before = this.#children.get(session.id)
    const { status, permissionRequests } = before?.live ?? NOT_SEEN
    const next = {
      status,
      permissionRequests,
      ...(status.type !== 'idle' && { begunAt: this.#ports.clock.now() }),
    }
    const live = before && before.task.run === task.run ? before.live : next
    this.#children.set(session.id, { session, task, live, steps })
    this.#changed()
  }

  #statusChanged(sessionID: string, status: SessionStatus): void {
    const now = this.#ports.clock.now()
    this.#update(sessionID, ({ begunAt }) => ({
      status,
      ...(status.type !== 'idle' && { begunAt: begunAt ?? now }),
    }))
  }

  #worked(sessionID: string, part: Part): void {
    const child = this.#children.get(sessionID)
    if (!child) return
    const { activity: before, toolCallIDs = new Set() } = child.live
    if (part.type === 'tool' && !toolCallIDs.has(part.id))
      this.#update(sessionID, () => ({ toolCallIDs: new Set([...toolCallIDs, part.id]) }))
    const activity = this.#doing(part, child)
    if (activity !== undefined && activity !== before) this.#update(sessionID, () => ({ activity }))
  }

  #doing(part: Part, { task }: Child): string | undefined {
    return doing(part, treeOf(task)?.directory ?? this.#ports.directory())
  }

  #update(sessionID: string, change: (live: Live) => Partial<Live>): void {
    const child = this.#children.get(sessionID)
    if (!child) return
    child.live = { ...child.live, ...change(child.live) }
    this.#changed()
  }

  #changed(): void {
    this.#views = undefined
    if (this.#isToTell) return
    this.#isToTell = true
    // One notification for all changes of this microtask.
    queueMicrotask(() => {
      this.#isToTell = false
      this.#tick()
      for (const notify of this.#subscribers) notify()
    })
  }

  /** Starts or stops the timer. */
  #tick(): void {
    const isNeeded = this.#timeSubscribers.size > 0 && this.views.some(hasTimeGoingOn)
    if (!isNeeded) {
      this.#cancelTick?.()
      this.#cancelTick = undefined
      return
    }
    this.#cancelTick ??= this.#ports.clock.after(TICK_MS, () => {
      this.#cancelTick = undefined
      this.#tick()
      for (const notify of this.#timeSubscribers) notify()
    })
  }
}

/** Whether the view shows a running time. A pending task has none, although its owner may have crashed. */
function hasTimeGoingOn(view: TaskView): boolean {
  return isUnfinished(view) && view.begunAt !== undefined
}

/** Returns the worktrees in which sessions may be at work. */
function treesOf(children: readonly Session[]): readonly string[] {
  return children.flatMap((session) => {
    const task = readRecord(session)?.task
    const tree = task && !isEnded(task) ? treeOf(task) : undefined
    // The session is moved into its tree once that is complete. A call in the tree before would make OpenCode load it too early.
    return tree?.directory === session.directory ? [session.directory] : []
  })
}

function asksOf({ id }: Session, permissions: readonly PermissionRequest[]): PermissionRequest[] {
  return permissions.filter(({ sessionID }) => sessionID === id)
}
