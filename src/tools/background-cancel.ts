/** The tool that stops tasks. */
import * as z from 'zod/mini'
import { formatDuration } from '../text/format.ts'
import type { BackgroundManager } from '../manager.ts'
import { isEnded, type Task } from '../task/task.ts'
import { nameForModel } from '../text/sanitize.ts'
import { ToolError } from '../tool-error.ts'
import { codeSpan } from './render/command-text.ts'
import type { Telling } from './telling.ts'
import { described, ownTask, type Tool, type ToolPorts } from './tool.ts'

/** A task that was to be stopped. */
export interface Cancelled {
  /** As it is after the call. */
  readonly task: Task
  /** Whether it had ended before the call, which then killed its leftover processes, if there were any. */
  readonly hadEnded: boolean
  readonly leftovers: 'none' | 'killed' | 'alive'
}

/** The tasks of a call. `isAlone`: it was about one task, and its answer has room for details. */
export interface CancelAnswer {
  readonly isAlone: boolean
  readonly tasks: readonly Cancelled[]
}

const ARGS = {
  task_id: described(z.optional(z.string().check(z.trim())), 'Its id'),
  all: described(z.optional(z.boolean()), 'All unfinished'),
}

export function backgroundCancel({ manager, telling }: ToolPorts): Tool<typeof ARGS, CancelAnswer> {
  return {
    name: 'background_cancel',
    description:
      'Stop a background task, or with all: true every unfinished one of yours. Its work so far stays readable with ' +
      `${manager.toolNames.background_output}. ${telling.ofCancel}`.trimEnd(),
    args: ARGS,
    effect: 'ends',
    async call({ task_id: given, all: flag }, { sessionID }) {
      const isAll = given?.toLowerCase() === 'all'
      const task_id = isAll ? undefined : given
      const all = flag ?? isAll
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
    render: (answer) => cancelText(answer, telling),
  }
}

/** Stops a task. Of one that has ended, it kills the leftover processes. */
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

export function cancelText({ isAlone, tasks }: CancelAnswer, telling: Telling): string {
  if (tasks.length === 0) return 'There was nothing to stop.'
  return tasks.map((each) => textOf(each, isAlone, telling)).join('\n')
}

function textOf({ task, hadEnded, leftovers }: Cancelled, isAlone: boolean, telling: Telling): string {
  if (hadEnded) return `${task.id} had ended already (${task.status}). ${LEFTOVERS[leftovers]}`
  const named = `${task.id} (${nameForModel(task.description)})`
  if (task.status !== 'cancelled') {
    return `${named} ended before it could be stopped: ${task.status}. ${telling.afterEnd(task.id)}`
  }
  const after =
    task.startedAt === undefined
      ? 'before it had started'
      : `after ${formatDuration(task.endedAt - task.startedAt)}`
  const isAlive = leftovers === 'alive'
  if (!('command' in task) || (!isAlone && !isAlive)) return `${named} was cancelled ${after}.`
  const killed = isAlive
    ? `⚠️ Task \`${task.id}\` was signalled, but one of its processes cannot be killed: it may be another user's.`
    : `🛑 Task \`${task.id}\` has been killed.`
  const lines = [killed, `Command: ${codeSpan(task.command)}`]
  if (task.startedAt === undefined) return [...lines, 'It had not started.'].join('\n')
  return [...lines, `Duration before kill: ${formatDuration(task.endedAt - task.startedAt)}`].join('\n')
}

const LEFTOVERS = {
  none: 'Nothing was changed.',
  killed: 'Its leftover processes were killed.',
  alive: "Its leftover processes cannot be killed: they may be another user's.",
} as const
