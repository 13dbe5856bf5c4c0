/** Formats the steps of a task for the story, the debug log and people. Pure. */
import type { NewStep, NoticeStep, StepEvent } from '../task/step.ts'
import type { TaskStatus } from '../task/state.ts'

export const NOTICES: Readonly<Record<NoticeStep, string>> = {
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

export const TRANSITIONS: Readonly<Record<StepEvent, (status: TaskStatus, detail?: string) => string>> = {
  slotTaken: () => 'starting',
  prompted: () => 'running',
  appended: () => 'prompt extended',
  released: () => 'queued: the tasks for which it waited have completed',
  steered: (_, why) =>
    why === undefined ? 'message sent to the running task' : 'told that its budget is nearly spent',
  outputMatched: (_, text) =>
    text === undefined ? 'none of its notify_on texts can appear any more' : `output matched: ${text}`,
  monitored: (_, matches) => `lines matched, ${matches} so far`,
  listening: (_, port) => `listens on port ${port}: no time limit`,
  placed: (_, name) => `its session on ${name} exists`,
  contactLost: (_, name) => `no contact with ${name}`,
  contactFound: (_, name) => `contact with ${name} again`,
  permissionAsked: (_, permission) => `waiting for a permission: ${permission}`,
  permissionUnanswered: () => 'permission unanswered: the parent is notified',
  permissionReplied: (status) => `permission answered, ${status}`,
  treeRemoved: () => 'its worktree and branch were removed',
  continued: (_, run) => `queued again, run ${run}`,
  ended: (status, failure) => (failure === undefined ? status : `${status}: ${failure}`),
}

export function stepText(step: NewStep): string {
  switch (step.type) {
    case 'queued':
      return 'queued'
    case 'waits':
      return `waits for ${step.detail}`
    case 'recovered':
      return `recovered after a restart, ${step.status}`
    case 'transition':
      return TRANSITIONS[step.event](step.status, step.detail)
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
