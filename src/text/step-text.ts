/** Formats the steps of a task for the story, the debug log and people. Pure. */
import type { NewStep, NoticeStep } from '../task/step.ts'

const NOTICES: Readonly<Record<NoticeStep, string>> = {
  owed: 'notice owed',
  inherited: 'notice owed from before OpenCode started',
  held: 'notice held: a tool call reads the end',
  settled: 'its end was read: no notice is owed',
  piggybacked: "notice sent with the user's message",
  sent: 'notice sent',
  confirmed: "notice confirmed: the parent's model has read it",
  closed: "notice waits for the user's next message: the parent may not be woken",
  undone: 'notice undone by the user before it was read',
  unanswered: "no turn followed the user's message with the notice",
  gone: 'no notice: its parent is gone',
  cancelled: 'no notice: its parent has cancelled it',
}

export function stepText(step: NewStep): string {
  switch (step.type) {
    case 'queued':
      return 'queued'
    case 'recovered':
      return `recovered after a restart, ${step.status}`
    case 'transition':
      return transitionText(step)
    case 'answering':
      return 'the model answers'
    case 'tool':
      return `tool ${step.tool}: ${step.state}`
    case 'idle':
      return step.detail
    case 'retry':
      return `provider retry ${step.attempt}: ${step.message}`
    case 'request':
      return `${step.request} requested in the terminal UI`
    case 'notice':
      return NOTICES[step.notice]
  }
}

function transitionText({ event, status, detail }: Extract<NewStep, { type: 'transition' }>): string {
  switch (event) {
    case 'slotTaken':
      return 'starting'
    case 'prompted':
      return 'running'
    case 'appended':
      return 'prompt extended'
    case 'steered':
      return 'message sent to the running task'
    case 'outputMatched':
      return detail === undefined
        ? 'none of its notify_on texts can appear any more'
        : `output matched: ${detail}`
    case 'listening':
      return `listens on port ${detail}: no time limit`
    case 'permissionAsked':
      return `waiting for a permission: ${detail}`
    case 'permissionUnanswered':
      return 'permission unanswered: the parent is notified'
    case 'permissionReplied':
      return `permission answered, ${status}`
    case 'continued':
      return `queued again, run ${detail}`
    case 'ended':
      return detail === undefined ? status : `${status}: ${detail}`
  }
}
