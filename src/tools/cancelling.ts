/** Stops tasks for the tools. A bundle of its own, because each server would read the code at its start. */
import type { BackgroundManager } from '../manager.ts'
import { isEnded, type Task } from '../task/task.ts'
import type { CancelAnswer, Cancelled } from './render/cancel-text.ts'

/** Stops all unfinished tasks of a session, and kills the leftover processes of ended ones. */
export async function cancelAll(manager: BackgroundManager, sessionID: string): Promise<CancelAnswer> {
  const unfinished = manager.list(sessionID).filter((task) => !isEnded(task))
  await manager.cancelAll(sessionID)
  const stopped = unfinished.flatMap(({ id }) => {
    const task = manager.get(id)
    return task ? [{ task, hadEnded: false, leftovers: leftoversOf(manager, id) }] : []
  })
  const left = manager.list(sessionID).filter(({ id }) => manager.hasLeftovers(id))
  const killed = await Promise.all(left.map((task) => cancelled(manager, task)))
  return { isAlone: false, tasks: [...stopped, ...killed] }
}

/** Stops an unfinished task, or kills the leftover processes of an ended one. */
export async function cancelOne(manager: BackgroundManager, task: Task): Promise<CancelAnswer> {
  return { isAlone: true, tasks: [await cancelled(manager, task)] }
}

async function cancelled(manager: BackgroundManager, task: Task): Promise<Cancelled> {
  if (!isEnded(task)) {
    const ended = await manager.cancel(task.id)
    return { task: ended, hadEnded: false, leftovers: leftoversOf(manager, task.id) }
  }
  const had = await manager.killLeftovers(task.id)
  return {
    task,
    hadEnded: true,
    leftovers: manager.hasLeftovers(task.id) ? 'alive' : had ? 'killed' : 'none',
  }
}

function leftoversOf(manager: BackgroundManager, taskID: string): 'none' | 'alive' {
  return manager.hasLeftovers(taskID) ? 'alive' : 'none'
}
