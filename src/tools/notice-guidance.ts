/** Sentences of the tools about how their caller learns of an end: by a notice here, by a wait in `mcp/wait-guidance.ts`. */
import type { ToolNames } from '../tool-names.ts'

export interface Guidance {
  /** Ends the description of the tool that launches an agent. */
  readonly ofAgent: string
  /** Ends the description of the tool that reads a task. */
  readonly ofRead: string
  /** Ends the description of the tool that runs a command. */
  readonly ofCommand: string
  /** Describes the argument `notify_on`. */
  readonly ofMatch: string
  /** Describes the argument `notify_every`. */
  readonly ofMonitor: string
  /** Ends the description of the tool that kills a command. */
  readonly ofKill: string
  /** Ends the description of the tool that stops tasks. */
  readonly ofCancel: string
  /** Ends the answer of the tool that starts a command. */
  readonly afterStart: (taskID: string) => string
  /** Ends the answer about a task that ended before it could be stopped. */
  readonly afterEnd: (taskID: string) => string
  /** Shown with an unfinished task, because some models poll. */
  readonly unfinished: string
  /** The tool that sends a prompt to a task, as an answer to its question. */
  readonly sendTool: string
  /** Ends the list of tasks. */
  readonly afterList: string
}

export function noticeGuidance(names: ToolNames): Guidance {
  return {
    ofAgent:
      'A notice brings the result when it ends: do not wait, poll or sleep. Launch independent tasks in one go.',
    ofRead:
      'A notice brings the result: use this for results that were cut, or with block when you cannot continue without it.',
    ofCommand: 'A notice reports its end: do not wait, poll or sleep.',
    ofMatch: 'A notice reports the first of these to appear',
    ofMonitor: 'Read notify_on as RE2 expressions, and report each matching line, in batches',
    ofKill: 'No notice follows.',
    ofCancel: 'No notice follows.',
    afterStart: (taskID) =>
      `continue with other work. A notice reports its end; \`${names.check_background}({ task_id: "${taskID}" })\` shows its output until then.`,
    afterEnd: () => 'Its notice follows.',
    unfinished: 'An automatic notice reports its end. Do other work, or end your turn.',
    sendTool: names.background_task,
    afterList: `A notice reports the end of each task. \`${names.background_output}({ task_id: "bg_xxxxx" })\` shows its result.`,
  }
}
