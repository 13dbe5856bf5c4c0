/**
 * How long after a child's end does its parent's model hear of it? Ours beside OpenCode's own background task, on one
 * server, in turns, so that a slow moment of the machine hits both. `npm run bench [-- samples]`.
 *
 * A sample counts only if the parent's request holds the child's result and was the only turn that followed.
 */
import { buildPlugin } from '../harness/plugin.ts'
import { startModel, type LoggedRequest, type ScriptedModel } from '../harness/model.ts'
import type { ModelRequest, ToolCall } from '../harness/script.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'

const CHILD_MS = 1000
const samples = Number(process.argv[2] ?? 20)

const KINDS: Readonly<Record<string, ToolCall>> = {
  ours: { name: 'background_task', args: { description: 'say it', prompt: 'Say it.', agent: 'general' } },
  native: {
    name: 'task',
    args: { description: 'say it', prompt: 'Say it.', subagent_type: 'general', background: true },
  },
}

async function script({
  parentSessionID,
  sessionID,
  messages,
}: ModelRequest): Promise<{ text?: string; tools?: ToolCall[] }> {
  if (parentSessionID !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, CHILD_MS))
    return { text: `RESULT-OF ${sessionID}` }
  }
  const last = messages.at(-1)
  const call = last?.role === 'user' ? KINDS[last.content.trim()] : undefined
  return call ? { tools: [call] } : { text: 'Noted.' }
}

async function sample(server: OpencodeServer, model: ScriptedModel, kind: string): Promise<number> {
  const { id } = await server.createSession({ title: kind })
  await server.prompt(id, kind)
  const heard = (request: LoggedRequest): boolean =>
    request.sessionID === id && request.messages.at(-1)?.content.includes('RESULT-OF') === true
  const told = await model.waitForRequest(heard, { description: `the parent's turn for ${kind}` })
  const child = model.requests.find((request) => request.parentSessionID === id)
  await server.waitForIdle(id)
  const turns = model.requestsOf(id).length
  if (turns !== 3) throw new Error(`${kind}: ${turns} model calls in the parent instead of 3`)
  if (child?.endedAt === undefined) throw new Error(`${kind}: the child did not end`)
  return told.at - child.endedAt
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

const model = await startModel(script)
const server = await startOpencode({
  model,
  plugins: [await buildPlugin()],
  env: { OPENCODE_EXPERIMENTAL_BACKGROUND_SUBAGENTS: 'true' },
})
try {
  const measured: Record<string, number[]> = { ours: [], native: [] }
  for (const kind of ['ours', 'native']) await sample(server, model, kind)
  for (let round = 0; round < samples; round += 1) {
    for (const kind of round % 2 === 0 ? ['ours', 'native'] : ['native', 'ours']) {
      measured[kind]?.push(await sample(server, model, kind))
    }
  }
  const row = (kind: string): object => {
    const values = measured[kind] ?? []
    return {
      samples: values.length,
      min: Math.min(...values),
      p50: percentile(values, 0.5),
      p90: percentile(values, 0.9),
    }
  }
  console.log("Child's end → parent's model request, one child of 1 s, in milliseconds:")
  console.table({ ours: row('ours'), native: row('native') })
  const ratio = percentile(measured['ours'] ?? [], 0.5) / percentile(measured['native'] ?? [], 0.5)
  console.log(`ours / native, p50: ${ratio.toFixed(2)}`)
} finally {
  await server.stop()
  await model.close()
}
