/** Reads an agent's result from its session, or the end of a command's output from the server part. */
import { readTranscript } from '../work/agent/transcript.ts'
import type { RequestReply, TaskRequest } from '../task/request.ts'
import { questionOf, type Task } from '../task/task.ts'
import { questionIn } from '../text/question.ts'
import type { Host } from './host.ts'

type Ask = (task: Task, request: Omit<TaskRequest, 'id' | 'run' | 'answer'>) => Promise<RequestReply>

export async function textOf(task: Task, host: Pick<Host, 'messages'>, ask: Ask): Promise<string> {
  // The session of an agent on another machine has only the record.
  if (!('promptIDs' in task) || task.place) {
    const { ok, text } = await ask(task, { kind: 'output' })
    if (!ok) throw new Error(text)
    return text.trim() === '' ? '(no output)' : text
  }
  const messages = await host.messages(task.sessionID)
  const { text } = readTranscript(messages, task.promptIDs)
  const asked = questionOf(task) === undefined ? undefined : questionIn(text)
  if (asked) return [asked.rest, `? It asks: ${asked.question}`].join('\n\n').trim()
  const failure = task.status === 'failed' ? `✗ ${task.failure.message}\n\n` : ''
  return `${failure}${text === '' ? '(no text)' : text}`
}
