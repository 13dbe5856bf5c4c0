/**
 * Finds the tasks of a session again that another process, or an instance before this one, has left behind: from the
 * records in its child sessions, when something is first done in that session. What the session was not told yet goes
 * along with the user's next message; nothing is started or woken.
 */
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'
import { errorText, type Opencode, type Session, type StoredMessage } from './opencode.ts'
import type { Notice } from './parent/notice.ts'
import type { Outbox } from './parent/outbox.ts'
import { storedNotice } from './parent/reception.ts'
import { judge, type Verdict } from './run/evidence.ts'
import { readTranscript, type Transcript } from './run/transcript.ts'
import type { Owners } from './task/owner.ts'
import { readRecord, type TaskRecords } from './task/record.ts'
import type { TaskStore } from './task/store.ts'
import { isEnded, transition, type EndedTask, type Outcome, type Task } from './task/task.ts'

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly owners: Owners
  readonly store: TaskStore
  readonly records: TaskRecords
  readonly outbox: Outbox
}

interface Found {
  readonly session: Session
  readonly task: Task
}

export class Recovery {
  readonly #ports: Ports
  /** The sessions that were looked at, or are being. */
  readonly #recovered = new Map<string, Promise<void>>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Resolves when the tasks of a session are known. Never rejects: what fails is tried again at the next call. */
  recover(parentID: string): Promise<void> {
    const known = this.#recovered.get(parentID)
    if (known) return known
    const recovering = this.#tryToRecover(parentID)
    this.#recovered.set(parentID, recovering)
    return recovering
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
    const { opencode, owners, store } = this.#ports
    const children = await opencode.children(parentID)
    const records = children.flatMap((session) => {
      const record = store.findBySession(session.id) ? undefined : readRecord(session)
      return record?.task.parentID === parentID ? [{ session, ...record }] : []
    })
    const left = records.filter(({ owner }) => owners.isGone(owner))
    if (left.length > 0) {
      const parent = await opencode.messages(parentID)
      await Promise.all(left.map((found) => this.#take(found, parent)))
    }
    return left.length === records.length
  }

  async #take({ session, task }: Found, parent: readonly StoredMessage[]): Promise<void> {
    const { opencode, store, records, outbox, log } = this.#ports
    const needsMessages = !isEnded(task) || task.earlier !== undefined || !isKnown(task, parent)
    const messages = needsMessages ? await opencode.messages(session.id) : []
    const ended = isEnded(task) ? task : endOf(task, messages, this.#ports.clock.now())
    // Another call may have been faster, as one for a launch is.
    if (!ended || store.findBySession(session.id)) return
    store.add(ended)
    log.debug(`${ended.id}: recovered, ${ended.status}`)
    if (!isEnded(task)) {
      records.adopt(ended, session)
      await this.#stop(ended, messages)
    }
    const { text } = readTranscript(messages, ended.promptIDs)
    for (const notice of [...earlierEnds(ended, messages), { task: ended, text }])
      if (!isKnown(notice.task, parent)) outbox.inherit(notice, parent)
  }

  /** What was sent while its instance ended can have started after that (seen on the fake host). */
  async #stop({ sessionID, promptIDs }: EndedTask, messages: readonly StoredMessage[]): Promise<void> {
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

/** How a run ended of which nobody has seen the end. */
function endOf(task: Task, messages: readonly StoredMessage[], now: number): EndedTask | undefined {
  const said = readTranscript(messages, task.promptIDs)
  const { newest, prompted } = said
  // Its record is from when it was asked for; that it was started shows in its session.
  const before = (prompted && transition(task, { type: 'slotTaken', at: task.createdAt })) || task
  const outcome = outcomeOf(said, judge(messages, task.promptIDs))
  const ended = transition(before, { type: 'ended', at: newest?.info.time.completed ?? now, outcome })
  return ended && isEnded(ended) ? ended : undefined
}

/** The ends of the runs before this one: each may have been owed still when the next was asked for. */
function earlierEnds(task: EndedTask, messages: readonly StoredMessage[]): Notice[] {
  const { id, kind, sessionID, parentID, agent, description, prompt } = task
  const same = { id, kind, sessionID, parentID, agent, description, prompt }
  return (task.earlier ?? []).map((end) => ({
    task: { ...same, ...end },
    text: readTranscript(messages, end.promptIDs).text,
  }))
}

function outcomeOf({ text, usage, prompted }: Transcript, verdict: Verdict | undefined): Outcome {
  const { ending } = verdict ?? {}
  if (ending?.type === 'answered') return { status: 'completed', text, usage }
  if (ending?.type === 'failed') return { status: 'failed', failure: ending.failure, text, usage }
  const message = `OpenCode stopped before the task had ${prompted ? 'ended' : 'started'}`
  return { status: 'failed', failure: { reason: 'interrupted', message }, text, usage }
}

/** Whether the parent's model has been told of an end, has read it by a tool, or has brought it about itself. */
function isKnown(task: EndedTask, parent: readonly StoredMessage[]): boolean {
  if (task.status === 'cancelled' && task.by === 'parent') return true
  if (storedNotice(task, parent)?.reception === 'answered') return true
  return parent.some(({ parts }) =>
    parts.some((part) => {
      if (part.type !== 'tool' || part.tool !== 'background_output') return false
      if (part.state.status !== 'completed') return false
      const { taskID, run, status } = part.state.metadata
      return taskID === task.id && run === task.run && status === task.status
    }),
  )
}
