/**
 * Measures the MCP server beside a widely used one that runs shell commands, in turns: both are driven over stdio by the
 * official client, in the era that both know. Each sample checks its result.
 */
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { install } from './contender.ts'
import { median, quantile, round } from './numbers.ts'
import type { Table } from './results.ts'
import { usageOf } from './usage.ts'

const COMMANDS = 50
const PEER = '@wonderwhy-er/desktop-commander'
const PEER_VERSION = '0.2.52'

interface Answer {
  readonly text: string
  readonly structured: unknown
}

type Call = (name: string, input: object) => Promise<Answer>

/** An MCP server, and how its tools are called. */
interface McpContender {
  readonly name: string
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  /** Runs a command, and resolves with its id when `output` was answered. */
  readonly run: (call: Call, command: string, output: string) => Promise<string>
  /** Reads the status of a command that has ended well. */
  readonly read: (call: Call, id: string) => Promise<void>
}

interface Started {
  readonly pid: number
  readonly call: Call
  readonly close: () => Promise<void>
}

/** The figures of a contender. Times are in milliseconds, memory is in bytes. */
interface Samples {
  readonly start: number[]
  readonly run: number[]
  readonly read: number[]
  readonly memoryAtStart: number[]
  readonly memoryAfter: number[]
  /** Of the list of tools, which each client gives to its model. */
  readonly characters: number[]
}

/** @param rounds number of starts of each server */
export async function mcpServers(rounds: number): Promise<Table> {
  const folder = install(`${PEER}@${PEER_VERSION}`)
  const home = mkdtempSync(join(tmpdir(), 'opencode-mcp-'))
  const contenders = [ours(home), peer(folder, home)]
  const samples = new Map(contenders.map((contender) => [contender, emptySamples()]))
  try {
    // The first start of a file reads it from the disk.
    for (const contender of contenders) await (await start(contender, home, emptySamples())).close()
    for (let index = 0; index < rounds; index += 1) {
      const turn = index % 2 === 0 ? contenders : contenders.toReversed()
      const started: (readonly [McpContender, Samples, Started])[] = []
      for (const contender of turn) {
        const own = samples.get(contender) as Samples
        started.push([contender, own, await start(contender, home, own)])
      }
      for (let nth = 0; nth < COMMANDS; nth += 1)
        for (const each of started) await runCommand(...each, `output-${index}-${nth}`)
      for (const [, { memoryAfter }, { pid, close }] of started) {
        memoryAfter.push(usageOf(pid).resident)
        await close()
      }
    }
  } finally {
    for (const path of [folder, home]) rmSync(path, { recursive: true, maxRetries: 5 })
  }
  return tableOf([...samples].map(([{ name }, own]) => [name, own]))
}

function ours(home: string): McpContender {
  return {
    name: 'ours',
    command: fileURLToPath(new URL('../../dist/command.js', import.meta.url)),
    env: { XDG_STATE_HOME: join(home, 'state') },
    async run(call, command, output) {
      const started = await call('run_background', { command })
      const { task } = started.structured as { readonly task: { readonly task_id: string } }
      const ended = await call('check_background', { task_id: task.task_id, wait: true })
      const { stdout } = ended.structured as { readonly stdout: { readonly text: string } }
      if (stdout.text !== `${output}\n`) throw new Error(`ours has answered ${ended.text}`)
      return task.task_id
    },
    async read(call, id) {
      const { structured, text } = await call('check_background', { task_id: id })
      const { task } = structured as { readonly task: { readonly exit_code?: number } }
      if (task.exit_code !== 0) throw new Error(`ours has answered ${text}`)
    },
  }
}

/** Desktop Commander answers a command with its first output, and its exit code to one that reads. */
function peer(folder: string, home: string): McpContender {
  const config = join(home, '.claude-server-commander')
  // It would load a browser at its start if it found none.
  const browser = join(config, 'puppeteer-cache', 'chrome', 'linux-0', 'chrome-linux64', 'chrome')
  mkdirSync(dirname(browser), { recursive: true })
  writeFileSync(browser, '')
  writeFileSync(join(config, 'config.json'), JSON.stringify({ telemetryEnabled: false }))
  return {
    name: `${PEER.replace(/.*\//, '')} ${PEER_VERSION}`,
    command: join(folder, 'node_modules', PEER, 'dist', 'index.js'),
    // Port 9 of this machine answers nothing.
    env: { DESKTOP_COMMANDER_DISABLE_TELEMETRY: '1', DC_FLAG_URL: 'http://127.0.0.1:9/' },
    async run(call, command, output) {
      const { text } = await call('start_process', { command, timeout_ms: 5000 })
      const [, pid] = /PID (\d+)/.exec(text) ?? []
      if (pid === undefined || !text.includes(output)) throw new Error(`${PEER} has answered ${text}`)
      return pid
    },
    async read(call, id) {
      const { text } = await call('read_process_output', { pid: Number(id), timeout_ms: 5000 })
      if (!text.includes('completed with exit code 0')) throw new Error(`${PEER} has answered ${text}`)
    },
  }
}

async function start(
  { command, env }: McpContender,
  home: string,
  { start: starts, memoryAtStart, characters }: Samples,
): Promise<Started> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [command, 'mcp'],
    cwd: home,
    env: { PATH: process.env['PATH'] ?? '', HOME: home, ...env },
    stderr: 'ignore',
  })
  const client = new Client({ name: 'bench', version: '1' }, { versionNegotiation: { mode: 'legacy' } })
  const began = performance.now()
  await client.connect(transport)
  const { tools } = await client.listTools()
  starts.push(performance.now() - began)
  const pid = transport.pid ?? 0
  memoryAtStart.push(usageOf(pid).resident)
  characters.push(JSON.stringify(tools).length)
  return {
    pid,
    async call(name, input) {
      const answer = await client.callTool({ name, arguments: { ...input } })
      const text = answer.content.map((block) => (block.type === 'text' ? block.text : '')).join('\n')
      if (answer.isError) throw new Error(`${name} has failed: ${text}`)
      return { text, structured: answer.structuredContent }
    },
    close: () => client.close(),
  }
}

async function runCommand(
  { run, read }: McpContender,
  samples: Samples,
  { call }: Started,
  output: string,
): Promise<void> {
  const began = performance.now()
  const id = await run(call, `echo ${output}`, output)
  const ran = performance.now()
  await read(call, id)
  samples.run.push(ran - began)
  samples.read.push(performance.now() - ran)
}

function emptySamples(): Samples {
  return { start: [], run: [], read: [], memoryAtStart: [], memoryAfter: [], characters: [] }
}

const FIGURES: readonly {
  readonly name: string
  readonly of: (samples: Samples) => number
}[] = [
  { name: 'spawn → answered initialize and tools/list, ms (p50)', of: ({ start: all }) => median(all) },
  { name: 'the same (p90)', of: ({ start: all }) => quantile(all, 0.9) },
  { name: 'call → output of `echo`, ms (p50)', of: ({ run }) => median(run) },
  { name: 'the same (p90)', of: ({ run }) => quantile(run, 0.9) },
  { name: 'status of an ended command, ms (p50)', of: ({ read }) => median(read) },
  { name: 'the same (p90)', of: ({ read }) => quantile(read, 0.9) },
  { name: 'resident memory after the start, MB (p50)', of: (all) => median(all.memoryAtStart) / 1e6 },
  { name: `after ${COMMANDS} commands, MB (p50)`, of: (all) => median(all.memoryAfter) / 1e6 },
  { name: 'list of tools, characters', of: ({ characters }) => median(characters) },
]

function tableOf(samples: readonly (readonly [string, Samples])[]): Table {
  const [first] = samples
  const title = `MCP servers, ${first?.[1].start.length ?? 0} starts with ${COMMANDS} commands each, in turns`
  const rows = FIGURES.map(({ name, of }) => {
    const [own = Number.NaN, other = Number.NaN] = samples.map(([, each]) => of(each))
    const figures = samples.map(([contender, each]) => [contender, round(of(each), 1)] as const)
    return { figure: name, ...Object.fromEntries(figures), 'ours / theirs': round(own / other, 2) }
  })
  return { title, rows }
}
