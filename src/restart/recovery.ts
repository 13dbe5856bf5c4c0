/**
 * Adopts the tasks that another process, or an earlier instance, has left in a session, from the records in its child sessions.
 * It runs when the session is first used. Pending notices are piggybacked on the user's next message; the recovery wakes no
 * parent, and starts no task unless the option `afterRestart` says so (`launch/after-restart.ts`).
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import { errorText, HostError, type Opencode, type Session } from '../host/opencode.ts'
import { History } from '../parent/history.ts'
import { isEndNotice, noticesBesideEnd, type Notice } from '../parent/notice.ts'
import { NEW_MS, type Parent } from '../parent/parent.ts'
import type { Parents } from '../parent/parents.ts'
import type { KindOf } from '../work/kind.ts'
import type { Executor } from '../work/executor.ts'
import { dependenciesOf } from '../task/dependency.ts'
import type { Step } from '../task/step.ts'
import type { Timeline } from '../timeline.ts'
import type { Owner, Owners } from '../task/owner.ts'
import { readRecord } from '../task/record.ts'
import type { TaskRecords } from '../task/records.ts'
import type { TaskStore } from '../task/store.ts'
import { isCutOff, isCutOffTooOften, isEnded, type Task } from '../task/task.ts'

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly owners: Owners
  readonly store: TaskStore
  readonly timeline: Timeline
  readonly records: TaskRecords
  readonly parents: Parents
  readonly executor: Executor
  readonly kindOf: KindOf
  /** Enforces the time limits of commands whose process of OpenCode is gone. */
  readonly scanOrphans: () => Promise<void>
  /** Whether tasks that a restart has cut off are continued. */
  readonly continues: boolean
}

interface RecordedTask {
  readonly session: Session
  readonly task: Task
  /** The newest steps in the record. */
  readonly steps: readonly Step[]
}

export class Recovery {
  readonly #ports: Ports

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /**
   * Adds the recorded tasks of a session to the store. Never rejects: the next call retries after a failure.
   *
   * @param again whether to look again after a recovery, because another process may have launched tasks since
   */
  async recover(parentID: string, { again = false } = {}): Promise<void> {
    this.#ports.scanOrphans().catch((error: unknown) => this.#ports.log.warn(errorText(error)))
    const parent = this.#ports.parents.of(parentID)
    if (again && parent.recovered) {
      await parent.recovered
      parent.recovered = this.#tryToRecover(parent)
    }
    parent.recovered ??= this.#isNew(parent) ? Promise.resolve() : this.#tryToRecover(parent)
    await parent.recovered
  }

  /**
   * Records the ends of tasks whose owner is gone, for clients that show them. The owner stays recorded,
   * because the user may continue in another process. A command that still runs is adopted, because its end
   * must be observed. Rejects with a `HostError`.
   */
  async refreshRecords(parentID: string): Promise<void> {
    const { kindOf, opencode, owners, records, store } = this.#ports
    const left = (await this.#records(parentID)).filter(({ task, owner }) => {
      return !isEnded(task) && owners.isGone(owner)
    })
    await Promise.all(
      left.map(async ({ session, task, steps, owner }) => {
        const found = await kindOf(task).recover(task, () => false)
        if (!isEnded(found.task))
          await this.#take({ session, task, steps }, new History(await opencode.messages(parentID)))
        else if (!store.findBySession(session.id)) await records.recordEnd(found.task, session, owner)
      }),
    )
  }

  #isNew({ createdAt }: Parent): boolean {
    return createdAt !== undefined && this.#ports.clock.monotonic() - createdAt < NEW_MS
  }

  async #tryToRecover(parent: Parent): Promise<void> {
    try {
      if (await this.#recover(parent)) return
    } catch (error) {
      this.#ports.log.warn(`the tasks of ${parent.id} could not be recovered: ${errorText(error)}`)
    }
    parent.recovered = undefined
  }

  /**
   * Resolves with false if some tasks remain for the next recovery: another living process owns them, or OpenCode refused to read
   * them. Rejects at the first task for which nothing answers, so that the user's message waits for one time limit only.
   */
  async #recover(parent: Parent): Promise<boolean> {
    const { id, tasks } = parent
    const { opencode, owners } = this.#ports
    const records = await this.#records(id)
    const left = records.filter(({ owner }) => owners.isGone(owner))
    tasks.others = records.filter((record) => !left.includes(record))
    if (left.length > 0) {
      const history = new History(await opencode.messages(id))
      if (!(await this.#takeAll(left, history))) return false
    }
    return tasks.others.length === 0
  }

  /** Returns the recorded tasks of a session that the store does not have. */
  async #records(parentID: string): Promise<(RecordedTask & { readonly owner: Owner })[]> {
    const { opencode, store } = this.#ports
    return (await opencode.children(parentID)).flatMap((session) => {
      const record = store.findBySession(session.id) ? undefined : readRecord(session)
      return record?.task.parentID === parentID ? [{ session, ...record }] : []
    })
  }

  /**
   * Takes tasks before their followers, and one at a time, because OpenCode does nothing else while it makes a page of messages.
   * Resolves with false if one remains for the next recovery.
   */
  async #takeAll(left: readonly RecordedTask[], history: History): Promise<boolean> {
    const byID = new Map(left.map((found) => [found.task.id, found]))
    const taken = new Map<string, boolean>()
    const take = async (found: RecordedTask): Promise<boolean> => {
      const { task } = found
      let isTaken = taken.get(task.id)
      if (isTaken !== undefined) return isTaken
      isTaken = true
      for (const taskID of dependenciesOf(task)) {
        const dependency = byID.get(taskID)
        // A follower that went on without a task for which it waits would fail.
        if (dependency && !(await take(dependency)) && this.#ports.continues) isTaken = false
      }
      isTaken &&= await this.#tryToTake(found, history)
      taken.set(task.id, isTaken)
      return isTaken
    }
    for (const found of left) await take(found)
    return ![...taken.values()].includes(false)
  }

  /** Resolves with false if the task remains for the next recovery. Rejects only if nothing answers. */
  async #tryToTake(found: RecordedTask, history: History): Promise<boolean> {
    try {
      return await this.#take(found, history)
    } catch (error) {
      if (error instanceof HostError && error.reason === 'noAnswer') throw error
      this.#ports.log.warn(`${found.task.id} could not be recovered: ${errorText(error)}`)
      return false
    }
  }

  /** Resolves with false if another process has adopted the task meanwhile. */
  async #take({ session, task: recorded, steps }: RecordedTask, history: History): Promise<boolean> {
    const { executor, kindOf, parents, records, store, timeline } = this.#ports
    // A concurrent launch or recovery may have added the task meanwhile.
    if (store.findBySession(session.id)) return true
    const { task, ends, matches, stopRest } = await kindOf(recorded).recover(recorded, (end) =>
      history.knows(end),
    )
    const goesOn =
      this.#ports.continues && 'prompt' in task && isCutOff(task) && isEnded(task) && !history.knows(task)
    if (goesOn && !(await this.#isStillLeft(task))) return false
    if (store.findBySession(session.id)) return true
    store.add(task)
    timeline.restore(task.id, steps)
    timeline.add(task.id, { type: 'recovered', status: task.status })
    if (goesOn || !isEnded(recorded) || !isEnded(task)) records.adopt(task, session)
    if (!isEnded(task)) executor.resume(task)
    await stopRest?.()
    // Reading the end has also settled earlier matches.
    const isUntold = matches && !ends.some((end) => history.knows(end.task))
    this.#inherit([...(isUntold ? [{ task, ...matches }] : []), ...ends, ...noticesBesideEnd(task)], history)
    if (goesOn && !isCutOffTooOften(task)) {
      const parent = parents.of(task.parentID)
      parent.cutOff = [...parent.cutOff, task.id]
    }
    return true
  }

  /** Reads the record once more before it is written, because another process may find the task at the same moment. */
  async #isStillLeft({ run, sessionID }: Task): Promise<boolean> {
    const { opencode, owners } = this.#ports
    const record = readRecord(await opencode.session(sessionID))
    return record?.task.run === run && owners.isGone(record.owner)
  }

  #inherit(notices: readonly Notice[], history: History): void {
    for (const notice of notices) {
      if (isEndNotice(notice) && history.knows(notice.task))
        this.#ports.kindOf(notice.task).endWasTold?.(notice.task)
      else this.#ports.parents.of(notice.task.parentID).outbox.inherit(notice, history)
    }
  }
}
