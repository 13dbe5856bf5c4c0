/** The actions that a person may take on a task in its state. Pure. */
import { formatAsked } from '../text/format.ts'
import { traitsOf } from '../work/kinds.ts'
import { isUnfinished, type TaskView } from './task-view.ts'

export type Action =
  | { readonly type: 'open' | 'read' | 'continue' | 'cancel' | 'copy' }
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
  return [
    ...answers,
    { title: 'Open its session', action: { type: 'open' } },
    // The session itself shows what is done in it.
    ...choiceIf(!runsInSession || !unfinished, actions.read, 'read'),
    ...choiceIf('prompt' in task, unfinished ? 'Send it a message' : 'Continue with a message', 'continue'),
    ...choiceIf(unfinished, actions.stop, 'cancel'),
    { title: `Copy its id: ${task.id}`, action: { type: 'copy' } },
  ]
}

function choiceIf(isPossible: boolean, title: string, type: 'read' | 'continue' | 'cancel'): Choice[] {
  return isPossible ? [{ title, action: { type } }] : []
}
