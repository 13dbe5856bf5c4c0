/** The tool that stops tasks. */
import * as z from 'zod/mini'
import type { BackgroundManager } from '../manager.ts'
import { isEnded, type Task } from '../task/task.ts'
import { ToolError } from '../tool-error.ts'
import type { CancelAnswer, Cancelled } from './render/cancel-text.ts'
import { described, ownTask, type Tool, type ToolPorts } from './tool.ts'

const ARGS = {
  task_id: described(z.optional(z.string().check(z.trim())), 'Its id'),
  all: described(z.optional(z.boolean()), 'All unfinished'),
}

export function backgroundCancel({ manager, telling }: ToolPorts): Tool<typeof ARGS, CancelAnswer> {
  return {
    name: 'background_cancel',
    description:
      `Stop a background task, or with all: true every unfinished one. Its work so far stays readable. ${telling.ofCancel}`.trimEnd(),
    args: ARGS,
    effect: 'ends',
    async call(args, { sessionID }) {
      const all = isForAll(args)
      const task_id = namesAll(args) ? undefined : args.task_id
      if (task_id !== undefined && all) throw new ToolError('Give either task_id or all: true, not both.')
      if (task_id !== undefined) return cancelOne(manager, await ownTask(manager, task_id, sessionID))
      if (!all) throw new ToolError('Give task_id, or all: true.')
      const unfinished = manager.list(sessionID).filter((task) => !isEnded(task))
      await manager.cancelAll(sessionID)
      const stopped = unfinished.flatMap(({ id }) => {
        const task = manager.get(id)
        return task ? [{ task, hadEnded: false, leftovers: leftoversOf(manager, id) }] : []
      })
      const left = manager.list(sessionID).filter(({ id }) => manager.hasLeftovers(id))
      const killed = await Promise.all(left.map((task) => cancelled(manager, task)))
      return { isAlone: false, tasks: [...stopped, ...killed] }
    },
    render: (answer, { cancelText }) => cancelText(answer, telling),
  }
}

interface CancelArgs {
  readonly task_id?: string | undefined
  readonly all?: boolean | undefined
}

/** Whether a call stops all tasks. */
export function isForAll(args: CancelArgs): boolean {
  return args.all ?? namesAll(args)
}

/** Models also write `task_id: "all"`. */
function namesAll({ task_id }: CancelArgs): boolean {
  return task_id?.toLowerCase() === 'all'
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
