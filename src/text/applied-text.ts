/** Renders the result of an apply, for a model and for a person. Pure. */
import type { Applied } from '../task/state.ts'
import type { Task } from '../task/task.ts'
import { nameForModel } from './sanitize.ts'

/** A task whose changes were applied, or checked. */
export interface AppliedTask {
  readonly task: Task
  readonly applied: Applied
}

/** @param most how many paths the text names at most */
export function appliedText(
  { task, applied: { type, paths, submodules = [] } }: AppliedTask,
  most: number,
): string {
  const branch = 'worktree' in task ? (task.worktree?.branch ?? '') : ''
  const files = listOf(paths, most)
  const rest =
    submodules.length === 0 ? '' : `\nWithout the new commits of submodules:\n${listOf(submodules, most)}`
  switch (type) {
    case 'nothing':
      return `Your checkout has all changes of ${task.id} already. Nothing was written.`
    case 'clean':
      return `The changes of ${task.id} apply cleanly. Nothing was written yet.\n${files}${rest}`
    case 'applied':
      return `The changes of ${task.id} are in your checkout, unstaged:\n${files}${rest}`
    case 'conflicts':
      return (
        `The changes of ${task.id} conflict with your checkout. Nothing was written. Paths in conflict:\n${files}\n` +
        `Merge the branch ${branch} by hand, or continue the task and tell it what your files contain now.`
      )
  }
}

function listOf(paths: readonly string[], most: number): string {
  const named = paths.slice(0, most).map((path) => `- ${nameForModel(path)}`)
  const more = paths.length - named.length
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('\n')
}
