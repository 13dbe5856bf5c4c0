/**
 * Finds the tasks of a session again that another process, or an instance before this one, has left behind: from the
 * records in its child sessions, when something is first done in that session. What the session was not told yet goes
 * along with the user's next message; nothing is started or woken.
 */
import PQueue from 'p-queue'
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import { errorText, type Event, type Opencode, type Session, type StoredMessage } from '../host/opencode.ts'
import { History } from '../parent/history.ts'
import { isEndNotice, noticesBesideEnd, type EndNotice, type Notice } from '../parent/notice.ts'
import type { Outbox } from '../parent/outbox.ts'
import type { CommandRunner } from '../work/command/command-runner.ts'
import { judge, outcomeOf } from '../work/agent/evidence.ts'
import type { Executor } from '../work/executor.ts'
import type { OrphanReaper } from '../work/command/orphan-reaper.ts'
import { readTranscript } from '../work/agent/transcript.ts'
import { interrupted } from '../work/outcome.ts'
import type { TimelineWriter } from '../timeline.ts'
import type { Owner, Owners } from '../task/owner.ts'
import { readRecord, type TaskRecords } from '../task/record.ts'
import type { TaskStore } from '../task/store.ts'
import {
  isEnded,
  transition,
  type AgentTask,
  type CommandTask,
  type EndedTask,
  type Task,
} from '../task/task.ts'

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly owners: Owners
  readonly store: TaskStore
  readonly timeline: TimelineWriter
  readonly records: TaskRecords
  readonly outbox: Outbox
  readonly executor: Executor
  readonly commands: CommandRunner
  readonly orphans: OrphanReaper
}

type EndedAgentTask = EndedTask & AgentTask

interface RecordedTask {
  readonly session: Session
  readonly task: Task
}

/** A task that another process of OpenCode runs, which is still there. */
export interface OthersTask {
  readonly task: Task
  /** The process, and the machine's host name. */
  readonly owner: { readonly pid: number; readonly host: string }
}

/**
 * So soon after a session was created before our eyes, no other process can have left anything behind in it, and it is
 * not looked at: that would hold up the first message of each session.
 */
const NEW_MS = 10_000

/** How many tasks are read at the same time: OpenCode does nothing else meanwhile. */
const AT_ONCE = 4

export class Recovery {
  readonly #ports: Ports
  /** When the newest sessions were created, on the monotonic clock, the oldest first. */
  readonly #created = new Map<string, number>()
  /** The sessions that were looked at, or are being. */
  readonly #recovered = new Map<string, Promise<void>>()
  /** Of the sessions that were looked at: what is another process's. */
  readonly #others = new Map<string, readonly OthersTask[]>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Resolves when the tasks of a session are known. Never rejects: what fails is tried again at the next call. */
  recover(parentID: string): Promise<void> {
    void this.#ports.orphans.scan()
    const known = this.#recovered.get(parentID)
    if (known) return known
    this.#forgetOld()
    if (this.#created.delete(parentID)) {
      const nothing = Promise.resolve()
      this.#recovered.set(parentID, nothing)
      return nothing
    }
    const recovering = this.#tryToRecover(parentID)
    this.#recovered.set(parentID, recovering)
    return recovering
  }

  /** The tasks of a session that another process runs, as they were when the session was last looked at. */
  others(parentID: string): readonly OthersTask[] {
    return this.#others.get(parentID) ?? []
  }

  /**
   * Has the records say how that has ended which nobody runs any more, for whoever looks on. It stays left behind: another
   * process may be the one in which the user goes on. A command that runs on is taken over, since somebody must see its
   * end. Rejects with a `HostError`.
   */
  async refreshRecords(parentID: string): Promise<void> {
    const { opencode, owners, records, store } = this.#ports
    const left = (await this.#records(parentID)).filter(({ task, owner }) => {
      return !isEnded(task) && owners.isGone(owner)
    })
    await Promise.all(
      left.map(async ({ session, task, owner }) => {
        const ended = task.kind === 'agent' ? await this.#endOf(task) : this.#endOfCommand(task)
        if (!ended) await this.#take({ session, task }, new History(await opencode.messages(parentID)))
        else if (!store.findBySession(session.id)) await records.recordEnd(ended, session, owner)
      }),
    )
  }

  async #endOf(task: AgentTask): Promise<EndedTask | undefined> {
    const { opencode, clock } = this.#ports
    return endOf(task, await opencode.messages(task.sessionID), clock.now())
  }

  /** `undefined` for one that runs on. */
  #endOfCommand(task: CommandTask): Task | undefined {
    const remains = this.#ports.commands.remainsOf(task)
    return remains && transition(this.#begun(task), { type: 'ended', ...remains })
  }

  /** That it was started shows in its files. */
  #begun(task: CommandTask): Task {
    const startedAt = this.#ports.commands.startedAt(task)
    return startedAt === undefined ? task : startedBefore(task, startedAt)
  }

  handleEvent(event: Event): void {
    if (event.type !== 'session.created' || event.properties.info.parentID !== undefined) return
    this.#forgetOld()
    this.#created.set(event.properties.info.id, this.#ports.clock.monotonic())
  }

  #forgetOld(): void {
    const oldest = this.#ports.clock.monotonic() - NEW_MS
    for (const [sessionID, at] of this.#created) {
      if (at > oldest) return
      this.#created.delete(sessionID)
    }
  }

  async #tryToRecover(parentID: string): Promise<void> {
    try {
      if (await this.#recover(parentID)) return
    } catch (error) {
      this.#ports.log.warn(`the tasks of ${parentID} could not be recovered: ${errorText(error)}`)
    }
    this.#recovered.delete(parentID)
  }

  /** False where some are another process's that is still there, and may be left behind later. */
  async #recover(parentID: string): Promise<boolean> {
    const { opencode, owners } = this.#ports
    const records = await this.#records(parentID)
    const left = records.filter(({ owner }) => owners.isGone(owner))
    const others = records.filter((record) => !left.includes(record))
    if (others.length > 0) this.#others.set(parentID, others)
    else this.#others.delete(parentID)
    if (left.length > 0) {
      const history = new History(await opencode.messages(parentID))
      await new PQueue({ concurrency: AT_ONCE }).addAll(left.map((found) => () => this.#take(found, history)))
    }
    return others.length === 0
  }

  /** Those of tasks that are not known here. */
  async #records(parentID: string): Promise<(RecordedTask & { readonly owner: Owner })[]> {
    const { opencode, store } = this.#ports
    return (await opencode.children(parentID)).flatMap((session) => {
      const record = store.findBySession(session.id) ? undefined : readRecord(session)
      return record?.task.parentID === parentID ? [{ session, ...record }] : []
    })
  }

  async #take({ session, task }: RecordedTask, history: History): Promise<void> {
    const known = this.#ports.store.findBySession(session.id)
    // Another call may have been faster, as one for a launch is.
    if (known) return
    if (task.kind === 'agent') await this.#takeAgent(task, session, history)
    else this.#takeCommand(task, session, history)
  }

  async #takeAgent(recorded: AgentTask, session: Session, history: History): Promise<void> {
    const { opencode, store, clock } = this.#ports
    const isSettled = isEnded(recorded) && history.knows(recorded)
    // An instance that ends knows of its tasks only that they have not ended before its eyes.
    const task = isSettled ? recorded : reopened(recorded)
    const areKnown = earlierEnds(recorded, []).every(({ task: earlier }) => history.knows(earlier))
    // They may be long: what all are told is not read again.
    const messages = isSettled && areKnown ? [] : await opencode.messages(session.id)
    const ended = isEnded(task) ? task : endOf(task, messages, clock.now())
    if (!ended || store.findBySession(session.id)) return
    this.#add(ended, task, session)
    if (!isEnded(task)) await this.#stop(ended, messages)
    const { text } = readTranscript(messages, ended.promptIDs)
    this.#inherit([...earlierEnds(ended, messages), { task: ended, text }], history)
  }

  /** A command outlives the process that began it. */
  #takeCommand(task: CommandTask, session: Session, history: History): void {
    const { commands, executor } = this.#ports
    const before = this.#begun(task)
    const remains = isEnded(task) ? undefined : commands.remainsOf(task)
    if (!isEnded(before) && !remains) {
      const running = transition(before, { type: 'prompted', at: task.createdAt }) ?? before
      this.#add(running, task, session)
      executor.resume(running)
      this.#inherit(noticesBesideEnd(running), history)
      return
    }
    const { at = 0, outcome } = remains ?? {}
    const ended = outcome ? transition(before, { type: 'ended', at, outcome }) : before
    if (!ended || !isEnded(ended)) return
    this.#add(ended, task, session)
    const text = outcome?.text ?? commands.textOf(task)
    this.#inherit([{ task: ended, text }, ...noticesBesideEnd(ended)], history)
  }

  /** @param before as it was recorded */
  #add(task: Task, before: Task, session: Session): void {
    const { store, records, timeline } = this.#ports
    store.add(task)
    timeline.add(task.id, `found again after a restart, ${task.status}`)
    if (!isEnded(before)) records.adopt(task, session)
  }

  #inherit(notices: readonly Notice[], history: History): void {
    for (const notice of notices) {
      if (isEndNotice(notice) && history.knows(notice.task)) this.#ports.commands.endWasTold(notice.task)
      else this.#ports.outbox.inherit(notice, history)
    }
  }

  /** What was sent while its instance ended can have started after that (seen on the fake host). */
  async #stop({ sessionID, promptIDs }: AgentTask, messages: readonly StoredMessage[]): Promise<void> {
    const asked = messages.findLast(({ info }) => info.role === 'user')
    // What a person has asked there since is theirs.
    if (asked && !promptIDs.includes(asked.info.id)) return
    try {
      await this.#ports.opencode.abort(sessionID)
    } catch (error) {
      this.#ports.log.warn(`could not abort session ${sessionID}: ${errorText(error)}`)
    }
  }
}

/** The record is from when the task was asked for; that it was started shows elsewhere. */
function startedBefore(task: Task, at = task.createdAt): Task {
  return transition(task, { type: 'slotTaken', at }) ?? task
}

/** A task that was recorded as interrupted, as one that has not ended; any other as it is. */
function reopened(task: AgentTask): AgentTask {
  if (task.status !== 'failed' || task.failure.reason !== 'interrupted') return task
  const { startedAt: _startedAt, endedAt: _endedAt, usage: _usage, failure: _failure, ...rest } = task
  return { ...rest, status: 'pending' }
}

/** How a run ended of which nobody has seen the end. */
function endOf(task: AgentTask, messages: readonly StoredMessage[], now: number): EndedAgentTask | undefined {
  const said = readTranscript(messages, task.promptIDs)
  const { newest, prompted } = said
  const before = prompted ? startedBefore(task) : task
  const { text, usage } = said
  const ending = judge(messages, task.promptIDs, undefined, task.maxSteps)?.ending
  const isOwnEnd = ending?.type === 'answered' || ending?.type === 'failed'
  const outcome = isOwnEnd ? outcomeOf(ending) : interrupted(task, prompted, { text, usage })
  // OpenCode may have been away for long since it did something last.
  const at = newest?.info.time.completed ?? said.activity?.at ?? newest?.info.time.created ?? now
  const ended = transition(before, { type: 'ended', at, outcome })
  return ended?.kind === 'agent' && isEnded(ended) ? ended : undefined
}

/** The ends of the runs before this one: each may have been owed still when the next was asked for. */
function earlierEnds(task: AgentTask, messages: readonly StoredMessage[]): EndNotice[] {
  const { id, kind, sessionID, parentID, agent, description, prompt } = task
  const same = { id, kind, sessionID, parentID, agent, description, prompt }
  const earlier = task.earlier ?? []
  return earlier.map((end, index) => {
    // What comes behind the next run's prompt is not this run's.
    const [nextID] = (earlier[index + 1] ?? task).promptIDs
    const next = messages.findIndex(({ info }) => info.id === nextID)
    const run = next === -1 ? messages : messages.slice(0, next)
    return { task: { ...same, ...end }, text: readTranscript(run, end.promptIDs).text }
  })
}
