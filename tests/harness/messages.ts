/** Builds stored messages of a session, as the host returns them, from short descriptions. */
import type { Message, Part, StoredMessage } from '../../src/host/opencode.ts'
import { RunProgress } from '../../src/work/agent/run-progress.ts'

type AssistantMessage = Extract<Message, { role: 'assistant' }>

/** A text, or a tool call, which failed when it has an `error`. */
type PartInBrief = { readonly text: string } | { readonly tool: string; readonly error?: string }

export function userMessage(id: string, created = 0): StoredMessage {
  const model = { providerID: 'mock', modelID: 'm1' }
  return {
    info: { id, sessionID: 'ses_child', role: 'user', time: { created }, agent: 'build', model },
    parts: [],
  }
}

/** Returns the message with which the host requests a summary; `auto`: because the context was full. */
export function compactionRequest(id: string, auto = true): StoredMessage {
  const { info } = userMessage(id, 2)
  return {
    info,
    parts: [{ id: `prt_${id}`, messageID: id, sessionID: info.sessionID, type: 'compaction', auto }],
  }
}

export function assistantMessage(
  changes: Partial<AssistantMessage> & { readonly parentID: string },
  ...parts: readonly PartInBrief[]
): StoredMessage {
  const info: AssistantMessage = {
    id: 'msg_answer',
    sessionID: 'ses_child',
    role: 'assistant',
    time: { created: 1, completed: 2 },
    modelID: 'm1',
    providerID: 'mock',
    mode: 'build',
    agent: 'build',
    path: { cwd: '/', root: '/' },
    cost: 0.01,
    tokens: { input: 10, output: 5, reasoning: 1, cache: { read: 2, write: 0 } },
    ...changes,
  }
  return { info, parts: parts.map((part, index) => storedPart(info, index, part)) }
}

function storedPart({ id: messageID, sessionID }: AssistantMessage, index: number, part: PartInBrief): Part {
  const common = { id: `prt_${messageID}_${index}`, messageID, sessionID }
  if ('text' in part) return { ...common, type: 'text', text: part.text }
  const times = { input: {}, metadata: {}, time: { start: 1, end: 2 } }
  const state =
    part.error === undefined
      ? { ...times, status: 'completed' as const, output: '', title: 'x.ts' }
      : { ...times, status: 'error' as const, error: part.error }
  return { ...common, type: 'tool', callID: `call_${index}`, tool: part.tool, state }
}

/** Returns the progress of a run whose events arrive in OpenCode's order: each message open, its parts, and then complete. */
export function progressOf(messages: readonly StoredMessage[], promptID: string): RunProgress {
  const progress = new RunProgress(promptID)
  for (const { info, parts } of messages) {
    const messageID = info.id
    const open = { ...info, time: { created: info.time.created }, finish: undefined, error: undefined }
    progress.observeMessage(open as unknown as Message)
    for (const part of parts)
      progress.observePart({
        ...part,
        messageID,
        ...(part.type === 'text' && { time: { start: 1, end: 2 } }),
      } as Part)
    if (info.role === 'assistant')
      progress.observePart({ id: `${messageID}_end`, type: 'step-finish', messageID, sessionID: '' } as Part)
    progress.observeMessage(info)
  }
  return progress
}
