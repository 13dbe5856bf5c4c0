/** The words by which the MCP tools say how their caller learns of an end: MCP has no notice, so the caller waits or asks. */
import type { ToolNames } from '../tool-names.ts'
import type { Telling } from '../tools/telling.ts'

export function byAsking(names: ToolNames): Telling {
  const waits = (taskID: string): string =>
    `\`${names.check_background}({ taskId: "${taskID}", wait: true })\``
  return {
    ofCommand: `Continue with other work meanwhile: ${names.check_background} with wait: true waits for its end.`,
    ofMatch: `${names.check_background} with wait: true returns when the first of these texts appears`,
    ofKill: 'Its output so far stays readable.',
    afterStart: (taskID) => `continue with other work. ${waits(taskID)} waits for its end.`,
    afterEnd: (taskID) => `${waits(taskID)} shows its end.`,
    unfinished: `Do other work, or call ${names.check_background} with wait: true.`,
    afterList: `${waits('bg_xxxxx')} waits for the end of a task, and shows its output.`,
  }
}
