/**
 * Compares ours with OpenCode's background task, on one server and in turns: `npm run bench [-- options]`.
 *
 *   --samples 200           number of single children of each contender
 *   --bursts 20             number of bursts of 5 and of 10; a quarter as many of 50
 *   --heavy 30              number of samples of each kind of children with long transcripts
 *   --peer name@version     another plugin to compare, from the registry, on its own server; may be repeated
 *   --old dist/server.js    another build of this plugin to compare, on its own server
 *   --mcp 30                number of starts of each MCP server, with 50 commands each
 *   --worktrees 30          number of worktrees of 3,000 files that git makes, and ours; a tenth as many of 50,000
 *   --only one,bursts       sections of one, bursts, heavy, heavybursts, restart, calls, start, sleeping, makespan, queue, timeline, worktrees, mcp
 *                           (only if named, because it installs another MCP server)
 *
 * Each sample checks that each result was reported once; otherwise the benchmark fails.
 */
import { statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startModel } from '../harness/model.ts'
import { callsOfTask } from './calls.ts'
import { compare, type Comparison } from './compare.ts'
import { native, ours, PLUGIN, startOld, startPeer, startServer, type Peer } from './contender.ts'
import { heavyChildren } from './heavy.ts'
import { mcpServers } from './mcp.ts'
import { median, quantile, round } from './numbers.ts'
import { launchBehind, makespans } from './queue.ts'
import { restartWithHeavyChildren } from './restart.ts'
import { writeResults, type Table } from './results.ts'
import { Scene, type Sample } from './scene.ts'
import { sleepingChildren } from './sleeping.ts'
import { startShare } from './start.ts'
import { timelineOfManyTasks } from './timeline.ts'
import { worktreesBesideGit } from './worktrees.ts'

const SPREAD_MS = 200
const QUEUED = 1000

const { values } = parseArgs({
  options: {
    samples: { type: 'string', default: '200' },
    bursts: { type: 'string', default: '20' },
    heavy: { type: 'string', default: '30' },
    mcp: { type: 'string', default: '30' },
    worktrees: { type: 'string', default: '30' },
    peer: { type: 'string', multiple: true, default: [] },
    old: { type: 'string' },
    only: { type: 'string' },
  },
})
const samples = Number(values.samples)
const bursts = Number(values.bursts)
const heavy = Number(values.heavy)

const tables: Table[] = []
const goals: { goal: string; 'at most': number; measured: number; reached: string }[] = []
function goal(name: string, most: number, measured: number): void {
  goals.push({ goal: name, 'at most': most, measured, reached: measured <= most ? 'yes' : 'no' })
}

const model = await startModel()
const scene = new Scene(model)

const SECTIONS: Readonly<Record<string, () => Promise<void>>> = {
  async one() {
    await compareAll([{ count: 1, spreadMs: 0, rounds: samples }])
  },
  async bursts() {
    await compareAll([
      { count: 5, spreadMs: SPREAD_MS, rounds: bursts },
      { count: 10, spreadMs: SPREAD_MS, rounds: bursts },
      { count: 50, spreadMs: SPREAD_MS, rounds: Math.ceil(bursts / 4) },
    ])
  },
  async calls() {
    const { table, most } = await callsOfTask(scene, model)
    tables.push(table)
    goal('calls of OpenCode for one task, launch to confirmed', 6, most)
  },
  async start() {
    const { table, share } = await startShare(model)
    tables.push(table)
    goal("plugin's share of the server's start, ms", 50, round(share, 1))
    goal('server bundle, bytes', 200 * 1024, statSync(PLUGIN).size)
  },
  async heavy() {
    const { table, ratios, stallMs } = await heavyChildren(scene, model, 1, heavy, values.old)
    tables.push(table)
    for (const [megabytes, ratio] of ratios)
      goal(`one end, transcript of ${megabytes} MB, ours / native`, 1.1, ratio)
    goal('longest stall of the host beyond native, end of 25 MB, ms', 20, round(stallMs, 1))
  },
  async heavybursts() {
    const { table, ratios } = await heavyChildren(scene, model, 10, heavy, values.old)
    tables.push(table)
    for (const [megabytes, ratio] of ratios)
      goal(`ten ends, transcripts of ${megabytes} MB, ours / native`, 1, ratio)
  },
  async restart() {
    const { table, stallMs } = await restartWithHeavyChildren(scene, model)
    tables.push(table)
    goal('longest stall of the host, restart with 20 children of 10 MB, ms of CPU time', 100, stallMs)
  },
  async sleeping() {
    const { table, calls } = await sleepingChildren(scene, model)
    tables.push(table)
    for (const count of [10, 100])
      goal(`calls in 20 s with ${count} sleeping children`, 5, calls.get(count) ?? Number.NaN)
  },
  async makespan() {
    tables.push(await makespans(scene, model))
  },
  async queue() {
    const { table, ratio } = await launchBehind(scene, model, QUEUED)
    tables.push(table)
    goal(`launch, p50 with ${QUEUED} queued / with none`, 1.5, ratio)
  },
  async worktrees() {
    const rounds = Number(values.worktrees)
    const many = await worktreesBesideGit(3000, rounds)
    const most = await worktreesBesideGit(50_000, Math.ceil(rounds / 10))
    tables.push(many.table, most.table)
    goal('snapshot of 3,000 files, ours / git', 1.5, round(many.snapshotRatio, 2))
    goal('worktree of 3,000 files, ours / git', 1.3, round(many.treeRatio, 2))
  },
  async timeline() {
    const { table, ms, peakMB, ratio } = await timelineOfManyTasks(model)
    tables.push(table)
    goal('timeline of 300 tasks with 6,000 messages, ms', 5000, ms)
    goal('its peak memory, MB', 300, peakMB)
    goal('the same / a plain read of the messages', 2, ratio)
  },
  async mcp() {
    tables.push(await mcpServers(Number(values.mcp)))
  },
}

const wanted = values.only?.split(',') ?? Object.keys(SECTIONS).filter((section) => section !== 'mcp')
const name = [
  'bench',
  ...(values.only === undefined ? [] : wanted),
  ...(values.peer.length > 0 ? ['peers'] : []),
  ...(values.old === undefined ? [] : ['old']),
].join('-')
let text = ''
try {
  for (const section of wanted) {
    const measure = SECTIONS[section]
    if (!measure) throw new Error(`There is no section ${section}, only ${Object.keys(SECTIONS).join(', ')}`)
    process.stderr.write(`${new Date().toISOString()} ${section}\n`)
    await measure()
    // Writes the results so far, because a later section may fail.
    text = writeResults(name, {
      title: 'Benchmark',
      tables: [...(goals.length > 0 ? [{ title: 'Goals', rows: goals }] : []), ...tables],
    })
  }
} finally {
  await model.close()
}
console.log(text)

async function compareAll(
  plans: readonly { count: number; spreadMs: number; rounds: number }[],
): Promise<void> {
  const server = await startServer(model, [[PLUGIN, { concurrency: { total: 100 } }]])
  const peers: Peer[] = []
  try {
    if (values.old !== undefined) peers.push(await startOld(model, values.old))
    for (const spec of values.peer) peers.push(await startPeer(model, spec))
    const contenders = [ours(server), native(server), ...peers.map(({ contender }) => contender)]
    for (const plan of plans) {
      const comparison = await compare(scene, contenders, plan)
      tables.push(comparison.table)
      if (plan.count === 1) goalsOfOne(comparison)
      if (plan.count === 10) goalsOfTen(comparison)
    }
  } finally {
    for (const peer of peers) await peer.stop()
    await server.stop()
  }
}

function goalsOfOne({ samples: measured }: Comparison): void {
  const [own, host] = bothOf(measured)
  const after = (all: readonly Sample[], share: number): number =>
    quantile(
      all.map(({ toldAfter }) => toldAfter),
      share,
    )
  goal(
    "child's end → parent's request, p50, ours / native",
    1.1,
    round(after(own, 0.5) / after(host, 0.5), 2),
  )
  goal(
    "child's end → parent's request, p99, ours / native",
    1.5,
    round(after(own, 0.99) / after(host, 0.99), 2),
  )
  goal('launch, ms, p50', 20, median(own.flatMap(({ launches }) => launches)))
  goal('characters beside description and result', 300, Math.max(...own.map(({ characters }) => characters)))
}

function goalsOfTen({ samples: measured }: Comparison): void {
  const [own, host] = bothOf(measured)
  const after = (all: readonly Sample[]): number => median(all.map(({ toldAfter }) => toldAfter))
  goal('burst of 10: turns of the parent, p50', 1, median(own.map(({ turns }) => turns)))
  goal('burst of 10: delay after the last, p50, ours / native', 0.8, round(after(own) / after(host), 2))
}

function bothOf(measured: Comparison['samples']): readonly [readonly Sample[], readonly Sample[]] {
  return [measured.get('ours') ?? [], measured.get('native') ?? []]
}
