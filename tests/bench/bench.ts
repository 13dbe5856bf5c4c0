/**
 * Ours beside OpenCode's own background task, on one server, in turns, so that a slow moment of the machine hits both:
 * `npm run bench [-- samples]`. Each sample checks its own result: every child's text was told, in the parent's model
 * requests, and the number of those is counted.
 */
import { fileURLToPath } from 'node:url'
import { startModel, type LoggedRequest, type ScriptedModel } from '../harness/model.ts'
import type { ModelRequest, Reply, ToolCall } from '../harness/script.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'
import { launchCall, type Kind } from '../harness/soak.ts'

const KINDS: readonly Kind[] = ['ours', 'native']

const CHILD_MS = 1000
const BURST = 5
const BURST_SPREAD_MS = 200
const samples = Number(process.argv[2] ?? 20)

/** In milliseconds, but for `turns`. */
interface Sample {
  readonly launch: number
  readonly toldAfter: number
  readonly turns: number
}

async function script({ parentSessionID, messages }: ModelRequest): Promise<Reply> {
  const last = messages.at(-1)
  if (parentSessionID !== undefined) {
    const wait = Number(/after (\d+)/.exec(last?.content ?? '')?.[1] ?? 0)
    await new Promise((resolve) => setTimeout(resolve, wait))
    return { text: `RESULT ${last?.content}.` }
  }
  const calls = last?.role === 'user' ? /^LAUNCH (.*) END/s.exec(last.content)?.[1] : undefined
  return calls === undefined ? { text: 'Noted.' } : { tools: JSON.parse(calls) as ToolCall[] }
}

async function sample(
  server: OpencodeServer,
  model: ScriptedModel,
  kind: Kind,
  count: number,
): Promise<Sample> {
  const { id } = await server.createSession({ title: kind })
  const names = Array.from(
    { length: count },
    (_, index) => `child ${index} after ${CHILD_MS + Math.round((index * BURST_SPREAD_MS) / count)}`,
  )
  await server.prompt(id, `LAUNCH ${JSON.stringify(names.map((name) => launchCall(kind, name)))} END`)
  const has = (request: LoggedRequest, name: string): boolean =>
    request.messages.some(({ role, content }) => role === 'user' && content.includes(`RESULT ${name}.`))
  const told = await model.waitForRequest(
    (request) => request.sessionID === id && names.every((name) => has(request, name)),
    { description: `all of ${count} told, ${kind}` },
  )
  const stored = await server.waitForIdle(id)
  const launches = stored.flatMap(({ parts }) =>
    parts.flatMap((part) =>
      part.type === 'tool' && part.state.status === 'completed'
        ? [part.state.time.end - part.state.time.start]
        : [],
    ),
  )
  const ends = model.requests.flatMap(({ parentSessionID, endedAt }) =>
    parentSessionID === id && endedAt !== undefined ? [endedAt] : [],
  )
  if (ends.length !== count || launches.length !== count)
    throw new Error(`${kind}: ${ends.length} of ${count} ended`)
  // The first two are the launch and what follows its answer.
  const turns = model.requestsOf(id).length - 2
  return { launch: median(launches), toldAfter: told.at - Math.max(...ends), turns }
}

async function compare(
  server: OpencodeServer,
  model: ScriptedModel,
  count: number,
  rounds: number,
): Promise<Readonly<Record<Kind, readonly Sample[]>>> {
  const measured: Record<Kind, Sample[]> = { ours: [], native: [] }
  for (const kind of KINDS) await sample(server, model, kind, count)
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of round % 2 === 0 ? KINDS : KINDS.toReversed()) {
      measured[kind].push(await sample(server, model, kind, count))
    }
  }
  return measured
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

function report(title: string, measured: Readonly<Record<Kind, readonly Sample[]>>): void {
  const figures = {
    'launch, ms (p50)': (all: readonly Sample[]) => median(all.map(({ launch }) => launch)),
    'last end → told, ms (p50)': (all: readonly Sample[]) => median(all.map(({ toldAfter }) => toldAfter)),
    'last end → told, ms (p90)': (all: readonly Sample[]) =>
      quantile(
        all.map(({ toldAfter }) => toldAfter),
        0.9,
      ),
    'turns of the parent (p50)': (all: readonly Sample[]) => median(all.map(({ turns }) => turns)),
    'turns of the parent (max)': (all: readonly Sample[]) => Math.max(...all.map(({ turns }) => turns)),
  }
  console.log(`\n${title}, ${measured.ours.length} samples each`)
  console.table(
    Object.fromEntries(
      Object.entries(figures).map(([name, figure]) => {
        const [ours, native] = [figure(measured.ours), figure(measured.native)]
        return [name, { ours, native, 'ours / native': Number((ours / native).toFixed(2)) }]
      }),
    ),
  )
}

const model = await startModel(script)
const server = await startOpencode({
  model,
  plugins: [fileURLToPath(new URL('../../dist/server.js', import.meta.url))],
  env: { OPENCODE_EXPERIMENTAL_BACKGROUND_SUBAGENTS: 'true' },
})
try {
  report('One child of 1 s', await compare(server, model, 1, samples))
  report(
    `${BURST} children that end within ${BURST_SPREAD_MS} ms`,
    await compare(server, model, BURST, Math.ceil(samples / 4)),
  )
} finally {
  await server.stop()
  await model.close()
}
