/** Sentences of the MCP tools about how their caller learns of an end: MCP has no notices, so the caller waits or asks. */
import type { ToolNames } from '../tool-names.ts'
import type { Guidance } from '../tools/notice-guidance.ts'

/** @param work the kind of tasks that the tools are for */
export function waitGuidance(names: ToolNames, work: 'agents' | 'commands'): Guidance {
  const [name, flag] =
    work === 'agents' ? [names.background_output, 'block'] : [names.check_background, 'wait']
  const waits = (taskID: string): string => `\`${name}({ task_id: "${taskID}", ${flag}: true })\``
  return {
    ofAgent: `${name} with ${flag}: true waits for its end. Launch independent tasks in one go.`,
    ofRead: 'With block it waits for the end.',
    ofCommand: `Continue with other work meanwhile: ${name} with ${flag}: true waits for its end.`,
    ofMatch: `${name} with ${flag}: true returns when the first of these texts appears`,
    ofMonitor: `Read notify_on as RE2 expressions: ${name} with ${flag}: true returns with each new matching line`,
    ofKill: 'Its output so far stays readable.',
    ofCancel: '',
    afterStart: (taskID) => `continue with other work. ${waits(taskID)} waits for its end.`,
    afterEnd: (taskID) => `${waits(taskID)} shows its end.`,
    unfinished: `Do other work, or call ${name} with ${flag}: true.`,
    sendTool: names.background_task,
    afterList: `${waits('bg_xxxxx')} waits for the end of a task, and shows its output.`,
  }
}
