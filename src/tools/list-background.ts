/** The tool that lists the tasks of a session. */
import * as z from 'zod/mini'
import { STATUSES, type Group } from '../task/status.ts'
import { isEnded, type Task } from '../task/task.ts'
import type { TaskList } from './render/list-text.ts'
import { statusNote } from './render/task-status.ts'
import { described, type Tool } from './tool.ts'
import type { ToolPorts } from './tool-ports.ts'

const ARGS = {
  status: described(z.optional(z.enum(['all', 'running', 'done', 'error'])), 'Only these'),
}

export function listBackground(ports: ToolPorts): Tool<typeof ARGS, TaskList> {
  const { manager, now } = ports
  return {
    name: 'list_background',
    description: 'List your background tasks, with ids and status.',
    args: ARGS,
    effect: 'reads',
    async call({ status = 'all' }, { sessionID }) {
      const tasks = manager.list(sessionID)
      const isIn = (task: Task, group: Group): boolean => STATUSES[task.status].group === group
      const count = (group: Group): number => tasks.filter((task) => isIn(task, group)).length
      return {
        counts: { running: count('running'), done: count('done'), error: count('error') },
        shown: await Promise.all(
          tasks
            .filter((task) => status === 'all' || isIn(task, status))
            .map(async (task) => ({
              task,
              note: statusNote(manager, task),
              budget: await manager.budget(task.id),
            })),
        ),
        at: now(),
        used: manager.used(sessionID),
        budget: await manager.sessionBudget(sessionID),
        others: manager.others(sessionID).filter(({ task }) => !isEnded(task)),
        origin: tasks.length === 0 ? await manager.forkedFrom(sessionID) : undefined,
        problems: manager.problems,
      }
    },
    render: (list, { listText }) => listText(list, ports),
  }
}
