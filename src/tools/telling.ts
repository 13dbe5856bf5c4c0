/** The words by which tools say how their caller learns of an end: here by a notice, elsewhere by asking. */
import type { ToolNames } from '../tool-names.ts'

export interface Telling {
  /** Follows what the tool that launches an agent does, in its definition. */
  readonly ofAgent: string
  /** Follows what the tool that reads a task does, in its definition. */
  readonly ofRead: string
  /** Follows what a tool that runs a command does, in its definition. */
  readonly ofCommand: string
  /** Describes the argument `notify_on`. */
  readonly ofMatch: string
  /** Follows what the tool that kills a command does, in its definition. */
  readonly ofKill: string
  /** Follows what the tool that stops tasks does, in its definition. */
  readonly ofCancel: string
  /** Closes the answer of a tool that has started a command. */
  readonly afterStart: (taskID: string) => string
  /** Follows that a task ended before it could be stopped. */
  readonly afterEnd: (taskID: string) => string
  /** Shown with an unfinished task, because some models poll. */
  readonly unfinished: string
  /** Closes a list of tasks. */
  readonly afterList: string
}

export function byNotice(names: ToolNames): Telling {
  return {
    ofAgent:
      'A notice brings the result when it ends: do not wait, poll or sleep. Launch independent tasks in one go.',
    ofRead:
      'A notice brings the result: use this for results that were cut, or with block when you cannot continue without it.',
    ofCommand: 'A notice reports its end: do not wait, poll or sleep.',
    ofMatch: 'A notice reports the first of these to appear',
    ofKill: 'No notice follows.',
    ofCancel: 'No notice follows.',
    afterStart: (taskID) =>
      `continue with other work. A notice reports its end; \`${names.check_background}({ taskId: "${taskID}" })\` shows its output until then.`,
    afterEnd: () => 'Its notice follows.',
    unfinished: 'An automatic notice reports its end. Do other work, or end your turn.',
    afterList: `A notice reports the end of each task. \`${names.background_output}({ task_id: "bg_xxxxx" })\` shows its result.`,
  }
}
