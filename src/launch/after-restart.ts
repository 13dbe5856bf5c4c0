/**
 * Continues the tasks that a restart has cut off, for the option `afterRestart`. Loaded lazily, because most processes find
 * none. It is a bundle of its own, so that it tests no class of the manager's bundle by `instanceof`.
 *
 *   adopted → claimed → continued
 *      └─────────┴────→ reported alone
 *
 * `adopted`: the recovery has written this process into the record as the owner. `claimed`: some time later the record still
 * names it, so that no other process that found the task at the same moment also continues it. `continued`: the next run is
 * recorded, and then queued: a crash in between loses nothing. A task whose end the parent has learned meanwhile is not continued.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import { errorText, type Opencode, type Session } from '../host/opencode.ts'
import type { Budgets } from './budgets.ts'
import type { Launcher } from './launcher.ts'
import type { Parent } from '../parent/parent.ts'
import { dependenciesOf } from '../task/dependency.ts'
import { newPromptID } from '../task/id.ts'
import type { Owner } from '../task/owner.ts'
import type { TaskRecords } from '../task/records.ts'
import type { TaskStore } from '../task/store.ts'
import { isCutOff, type AgentTask, type EndedTask, type Task } from '../task/task.ts'

export interface AfterRestartPorts {
  readonly budgets: () => Promise<Pick<Budgets, 'refusal'>>
  readonly clock: Clock
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  /** Queues a task that is pending again. */
  readonly enqueue: (task: Task) => Promise<void>
  readonly launcher: Launcher
  readonly log: Log
  readonly opencode: Opencode
  /** Returns the owner of the task in a session, as its record names it. */
  readonly ownerIn: (session: Session) => Owner | undefined
  readonly records: TaskRecords
  /** This process. */
  readonly self: Owner
  readonly store: TaskStore
}

type CutOffTask = EndedTask & AgentTask

/** Longer than the time between another process's last read of a record and its write, which follow each other directly. */
const CLAIM_MS = 500
/** The prompt of a run whose session holds the prompt of the last one. */
export const GO_ON =
  'OpenCode was restarted while you worked. Go on from where you stopped; look first whether your last step took effect.'

/**
 * Continues the cut-off tasks of a parent. Resolves when each next run is recorded; never rejects.
 *
 * @param taskIDs the tasks that the recovery has adopted
 */
export async function goOn(
  ports: AfterRestartPorts,
  parent: Parent,
  taskIDs: readonly string[],
): Promise<void> {
  // The claim begins once the records name this process.
  await Promise.all(taskIDs.map((taskID) => ports.records.written(ports.store.get(taskID)?.sessionID ?? '')))
  await new Promise<void>((resolve) => {
    ports.clock.after(CLAIM_MS, resolve)
  })
  const goOnWith = async (task: Task): Promise<void> => {
    try {
      if (isOpen(ports, parent, task)) await tryToContinue(ports, parent, task)
    } catch (error) {
      // Its notice reports the interruption.
      ports.log.warn(`${task.id}: not continued after the restart: ${errorText(error)}`)
    }
  }
  const going = new Map<string, Promise<void>>()
  // Continue a follower after the tasks for which it waits: otherwise it would see them as failed.
  const goOnInOrder = async (task: Task): Promise<void> => {
    await Promise.all(dependenciesOf(task).map(begin))
    await goOnWith(task)
  }
  const begin = (taskID: string): Promise<void> => {
    const known = going.get(taskID)
    if (known) return known
    const task = taskIDs.includes(taskID) ? ports.store.get(taskID) : undefined
    const begun = task ? goOnInOrder(task) : Promise.resolve()
    going.set(taskID, begun)
    return begun
  }
  await Promise.all(taskIDs.map(begin))
}

/** Whether a task is still as the restart left it, and its parent does not know its end. */
function isOpen(
  { disposal, store }: AfterRestartPorts,
  { outbox }: Parent,
  task: { readonly id: string; readonly run: number },
): task is CutOffTask {
  const now = store.get(task.id)
  return !disposal.aborted && now?.run === task.run && isCutOff(now) && outbox.keeps(now)
}

async function tryToContinue(ports: AfterRestartPorts, parent: Parent, task: CutOffTask): Promise<void> {
  const { budgets, clock, enqueue, launcher, opencode, ownerIn, records, self, store } = ports
  const owner = ownerIn(await opencode.session(task.sessionID))
  if (owner?.pid !== self.pid || owner.process !== self.process) {
    if (!isOpen(ports, parent, task)) return
    // The other process continues and reports it: forget it here, and find it again as a task of the other.
    parent.outbox.settle(task)
    parent.tasks.giveUp(task)
    parent.recovered = undefined
    return
  }
  const refusal = task.budget && (await budgets()).refusal(task)
  if (refusal !== undefined) throw new Error(refusal)
  await launcher.admitted(task.kind, parent.id, async () => {
    const isHeld = await records.revive(task)
    if (!isOpen(ports, parent, task)) return
    const createdAt = clock.now()
    const promptID = newPromptID({ id: task.id, run: task.run + 1 }, createdAt)
    const next = {
      prompt: isHeld ? GO_ON : task.prompt,
      promptIDs: [promptID] as const,
      createdAt,
      askedBy: 'restart' as const,
    }
    store.dispatch(task.id, { type: 'continued', next })
    await records.written(task.sessionID)
    const pending = store.get(task.id)
    if (pending) await enqueue(pending)
  })
}
