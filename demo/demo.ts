/**
 * A parent that launches five agents under a limit of two, on the real OpenCode with a scripted model: one agent
 * fails, one is cancelled, and the parent is told of each end. `npm run demo`; with `-- --tui` in the real terminal UI, for
 * a person to play with. Nothing leaves this machine, and nothing stays on it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startModel } from '../tests/harness/model.ts'
import type { ModelRequest, Reply } from '../tests/harness/script.ts'
import { startOpencode } from '../tests/harness/server.ts'
import { printTimeline } from './timeline.ts'
import { openTui } from './tui.ts'

interface Errand {
  readonly agent: string
  readonly takesMs: number
  readonly reply: Reply
}

const ERRANDS: Readonly<Record<string, Errand>> = {
  'map the modules': {
    agent: 'explore',
    takesMs: 1500,
    reply: { text: 'src/ has nine rooms; data flows one way.' },
  },
  'translate the manual': {
    agent: 'general',
    takesMs: 60_000,
    reply: { text: 'Nobody will wait for this.' },
  },
  'check the licences': {
    agent: 'general',
    takesMs: 700,
    reply: { status: 400, text: 'the provider refused the request' },
  },
  'count the tests': { agent: 'explore', takesMs: 1200, reply: { text: 'There are 128 tests in 21 files.' } },
  'find dead code': { agent: 'explore', takesMs: 2000, reply: { text: 'Two exports are never imported.' } },
}

const isTui = process.argv.includes('--tui')
/** A person wants to see it. */
const SLOWER = isTui ? 8 : 1

const TOO_SLOW = 'translate the manual'

const ASKED = 'Please look this project over.'

/** Ids of the tasks by description, as the parent's model has read them. */
const ids = new Map<string, string>()

async function child({ messages }: ModelRequest): Promise<Reply> {
  const errand = ERRANDS[messages.findLast(({ role }) => role === 'user')?.content ?? '']
  if (!errand) return { text: 'I was told nothing that I know.' }
  await sleep(errand.takesMs * SLOWER, undefined, { ref: false })
  return errand.reply
}

function parent({ messages }: ModelRequest): Reply {
  for (const { content } of messages) {
    const launched = /task_id: (bg_\w+)[^]*description: (.*)/.exec(content)
    if (launched?.[1] && launched[2]) ids.set(launched[2], launched[1])
  }
  const last = messages.at(-1)
  if (last?.role === 'user' && !last.content.includes('<background_task')) {
    const launches = Object.entries(ERRANDS).map(([description, { agent }]) => ({
      name: 'background_task',
      args: { description, prompt: description, agent },
    }))
    return { text: 'I hand this to five agents.', tools: launches }
  }
  if (last?.role === 'tool' && last.content.startsWith('task_id'))
    return { text: 'All five are on their way; I go on.' }
  if (last?.role === 'tool') return { text: 'It was too slow, so I stopped it.' }
  const cancelled = messages.some(({ content }) => content.includes('was cancelled'))
  if (!cancelled) return { tools: [{ name: 'background_cancel', args: { task_id: ids.get(TOO_SLOW) } }] }
  const results = [...(last?.content ?? '').matchAll(/<(?:result|error)[^>]*>([^<]*)</g)].map(
    (match) => match[1],
  )
  return { text: `I have read: ${results.join(' / ')}` }
}

const startedAt = Date.now()
const model = await startModel((request) =>
  request.parentSessionID === undefined ? parent(request) : child(request),
)
const options = { concurrency: { total: 2 } }
await (isTui ? openTui(model, options, ASKED) : printDemo())
await model.close()

async function printDemo(): Promise<void> {
  const plugin = fileURLToPath(new URL('../dist/server.js', import.meta.url))
  console.log('Starting the real OpenCode with a scripted model, in a temporary home …')
  const server = await startOpencode({ model, plugins: [[plugin, options]] })
  process.once('SIGINT', () => void server.stop().then(() => process.exit(130)))
  try {
    const { id } = await server.createSession({ title: 'Demo' })
    const timeline = printTimeline(server.events, id, startedAt)
    await server.prompt(id, ASKED)
    const summary = await timeline.whenEnded(Object.keys(ERRANDS).length)
    await server.waitForIdle(id)
    // The answer to the last notice.
    await sleep(500)
    const turns = model.requestsOf(id).length
    console.log(
      `\n${summary}\n${turns} model calls in the parent, ${model.requests.length - turns} in the children.`,
    )
  } finally {
    await server.stop()
  }
}
