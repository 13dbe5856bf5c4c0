/** The actions that a person may take on a task in its state. Pure. */
import { machineOf } from '../task/place.ts'
import { formatAsked } from '../text/format.ts'
import { isEnded, type Task } from '../task/task.ts'
import { traitsOf } from '../work/kinds.ts'
import { isUnfinished, type TaskView } from './task-view.ts'

export type Action =
  | { readonly type: 'open' | 'read' | 'continue' | 'cancel' | 'apply' | 'remove' | 'copy' }
  | { readonly type: 'answer'; readonly requestID: string; readonly reply: 'once' | 'always' | 'reject' }

export interface Choice {
  readonly title: string
  readonly action: Action
}

export function choicesFor(view: TaskView): readonly Choice[] {
  const { task, permissionRequests } = view
  const answers = permissionRequests.flatMap((ask): Choice[] => {
    const what = formatAsked([ask])
    const answer = { type: 'answer', requestID: ask.id } as const
    return [
      { title: `Allow once: ${what}`, action: { ...answer, reply: 'once' } },
      {
        title: `Always allow: ${formatAsked([{ ...ask, patterns: ask.always }])}`,
        action: { ...answer, reply: 'always' },
      },
      { title: `Reject: ${what}`, action: { ...answer, reply: 'reject' } },
    ]
  })
  const unfinished = isUnfinished(view)
  const { actions, runsInSession } = traitsOf(task)
  const hasChanges = isEnded(task) && task.changes?.type === 'committed'
  return [
    ...answers,
    { title: 'Open its session', action: { type: 'open' } },
    // The session itself shows the progress of an agent.
    ...choiceIf(!runsInSession || !unfinished, actions.read, 'read'),
    ...choiceIf('prompt' in task, unfinished ? 'Send it a message' : 'Continue with a message', 'continue'),
    ...choiceIf(unfinished, actions.stop, 'cancel'),
    ...choiceIf(hasChanges, 'Apply its changes', 'apply'),
    ...choiceIf(hasChanges, 'Remove its worktree', 'remove'),
    { title: `Copy its id: ${task.id}`, action: { type: 'copy' } },
  ]
}

/** Returns how to open the session of a task on another machine; `undefined` for a session that can be opened here. */
export function openCommandOf(task: Task): string | undefined {
  const place = machineOf(task)
  if (!place) return undefined
  if (place.url === undefined) return `It has not started on ${place.name} yet.`
  return [
    `Its session is on ${place.name}, in ${place.directory}. In another terminal:`,
    `opencode attach ${place.url} --session ${place.sessionID}`,
    `If ${place.name} has a password, set OPENCODE_SERVER_PASSWORD to it there first.`,
  ].join('\n\n')
}

type Simple = Exclude<Action['type'], 'answer'>

function choiceIf(isPossible: boolean, title: string, type: Simple): Choice[] {
  return isPossible ? [{ title, action: { type } }] : []
}
