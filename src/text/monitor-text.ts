/** Formats monitors: commands without a time limit, of which each matching line is reported. Pure. */
import { isOpenEnded, type Task } from '../task/task.ts'
import { counted } from './format.ts'

/** Returns how a monitor is shown; `undefined` for another task. */
export function monitorText(task: Task): string | undefined {
  if (!('notifyEvery' in task && task.notifyEvery && isOpenEnded(task))) return undefined
  const { monitored } = { monitored: undefined, ...task }
  return `monitor, ${counted(monitored?.notices ?? 0, 'notice')}`
}
