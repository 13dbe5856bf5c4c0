/**
 * Measures the fleet on a PostgreSQL of this machine: `npm run bench:fleet [-- --only queue,kill,hosts,price]`. Fails if work is lost
 * or done twice, if a limit is exceeded, or if a job of a killed worker is later at the next one than its lease and 5 s.
 *
 *   queue   the verbs of the queue, by 16 workers
 *   kill    from the kill of a worker to the next claim of its job
 *   hosts   60 tasks at three hosts in network namespaces beside the same at this machine alone (root, iproute2, nftables)
 *   price   one task at the worker beside this machine's OpenCode, and the same task here, in turns
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { PROTOCOL, type Claim, type Claims } from '../../src/fleet/port.ts'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { startClaiming } from '../harness/claiming.ts'
import { makeFleetDatabase, watchLimits, WORKER } from '../harness/fleet-database.ts'
import { startFleet, type FleetStage } from '../harness/fleet-hosts.ts'
import { runTasks } from '../harness/fleet-tasks.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'
import { backgroundTask } from '../harness/stage.ts'
import { idOf } from '../harness/trees.ts'
import { median, quantile } from './numbers.ts'

const WORKERS = 16
const JOBS = 400
const BEATS = 1600
/** How often a worker with a free slot asks. */
const POLL_MS = 5000
const LATE_MS = 5000
const TASKS = 60
const SLOTS = 5
const LIMITS = { total: 12, acme: 5 }
/** How long each of the tasks waits for its model. */
const THINK_MS = 8000
const PAIRS = 12

type Opened = Claims & { close(): Promise<void> }

function print(what: string, figure: string): void {
  process.stdout.write(`${what.padEnd(48)} ${figure}\n`)
}

function show(what: string, count: number, ms: number): void {
  print(what, `${Math.round((count / ms) * 1000)} a second`)
}

async function timed(run: () => Promise<void>): Promise<number> {
  const began = performance.now()
  await run()
  return performance.now() - began
}

/** Has each worker do its part at the same time. */
async function all(
  workers: readonly Opened[],
  run: (claims: Claims, index: number) => Promise<void>,
): Promise<number> {
  return timed(async () => void (await Promise.all(workers.map(run))))
}

async function measureVerbs(postgres: Postgres): Promise<void> {
  const database = await makeFleetDatabase(postgres, {
    // Long enough for all: nothing beats while it claims.
    times: { leaseMs: 600_000 },
    limits: [
      { scope: 'total', key: '', most: JOBS },
      { scope: 'provider', key: 'acme', most: JOBS },
    ],
  })
  const jobs = await openJobs(database.url('desk'))
  const workers = await Promise.all(Array.from({ length: WORKERS }, () => openClaims(database.url(WORKER))))
  const held: Claim[][] = workers.map(() => [])
  let number = 0
  const claim = async (claims: Claims, index: number): Promise<Claim | undefined> => {
    const worker = { name: `w${index}`, identity: `w${index}`, process: `w${index}`, labels: [], slots: JOBS }
    const request = {
      worker: { ...worker, protocol: PROTOCOL },
      holding: held[index] ?? [],
      wants: 'any',
    } as const
    const answer = await claims.claim({ ...request, number: (number += 1) })
    return answer.type === 'claimed' ? answer.claim : undefined
  }
  const offers = await timed(async () => {
    for (let part = 0; part < JOBS; part += 4)
      await Promise.all(
        [0, 1, 2, 3].map((more) =>
          jobs.offer({
            id: `j.${part + more}`,
            labels: [],
            provider: 'acme',
            payload: { prompt: 'x'.repeat(4000) },
          }),
        ),
      )
  })
  show('offers of 4 KB', JOBS, offers)
  const claims = await all(workers, async (worker, index) => {
    for (;;) {
      const claimed = await claim(worker, index)
      if (!claimed) return
      held[index]?.push(claimed)
    }
  })
  show(`claims, ${WORKERS} workers, up to ${JOBS} at work`, JOBS, claims)
  const ids = held.flat().map(({ offer }) => offer.id)
  if (ids.length !== JOBS || new Set(ids).size !== JOBS)
    throw new Error(`${ids.length} claims of ${JOBS} jobs`)
  const beats = await all(workers, async (worker, index) => {
    const mine = held[index] ?? []
    for (let beat = 0; beat < BEATS / WORKERS; beat += 1) {
      const claimed = mine[beat % Math.max(1, mine.length)]
      if (!claimed) continue
      const answer = await worker.beat(claimed, {
        phase: 'prompted',
        report: { activity: 'x'.repeat(200) },
        heard: [],
      })
      if (answer.type !== 'held') throw new Error('a beat was lost')
    }
  })
  show('beats with a report', BEATS, beats)
  const settles = await all(workers, async (worker, index) => {
    for (const claimed of held[index]?.splice(0) ?? [])
      if (!(await worker.settle(claimed, { type: 'result', result: { text: 'x'.repeat(4000) } })))
        throw new Error('a settlement was lost')
  })
  show('settlements with a result of 4 KB', JOBS, settles)
  const states = await timed(async () => {
    const found = await jobs.states(ids)
    if (found.size !== JOBS) throw new Error(`${found.size} states of ${JOBS} jobs`)
  })
  show('states, read in one call', JOBS, states)
  const idle = await all(workers, async (worker, index) => {
    for (let ask = 0; ask < 50; ask += 1) await claim(worker, index)
  })
  show('claims that find an empty queue', WORKERS * 50, idle)
  for (const opened of [jobs, ...workers]) await opened.close()
}

/** Measures the time from a kill of a worker to the claim of its job by the next one. */
async function measureKill(postgres: Postgres, leaseMs: number): Promise<void> {
  const database = await makeFleetDatabase(postgres, { times: { leaseMs } })
  const jobs = await openJobs(database.url('desk'))
  await jobs.offer({ id: 'a.1', labels: [], payload: {} })
  const first = startClaiming(database.url(WORKER), 'first', POLL_MS)
  await first.line(({ beat }) => beat === 'held')
  const second = startClaiming(database.url(WORKER), 'second', POLL_MS)
  // Between two beats.
  await sleep(POLL_MS / 2)
  await first.kill()
  const tookMs = await timed(async () => void (await second.line(({ claimed }) => claimed !== undefined)))
  await second.kill()
  await jobs.close()
  print(`from a kill to the next claim, lease ${leaseMs / 1000} s`, `${(tookMs / 1000).toFixed(1)} s`)
  if (tookMs > leaseMs + LATE_MS) throw new Error(`later than the lease and ${LATE_MS / 1000} s`)
}

/** Runs the same tasks at three hosts, and here with the slots of one of them. */
async function measureHosts(): Promise<void> {
  const fleet = await startFleet(['one', 'two', 'three'], {
    slots: SLOTS,
    limits: [
      { scope: 'total', key: '', most: LIMITS.total },
      { scope: 'provider', key: 'acme', most: LIMITS.acme },
    ],
    options: { concurrency: { total: SLOTS }, worktree: { max: 4 * TASKS } },
  })
  try {
    const highest = await watchLimits(fleet.database)
    const wanted = { count: TASKS, thinkMs: THINK_MS, timeoutMs: 900_000 }
    const { makespanMs: there, peak } = await runTasks(fleet, { ...wanted, launch: { where: 'any' } })
    const most = await highest()
    for (const { total, acme } of [most, peak])
      if (total > LIMITS.total || acme > LIMITS.acme)
        throw new Error(`${total} agents were at work, ${acme} of them of the limited provider`)
    const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
    print(`${TASKS} tasks at ${most.workers} hosts of ${SLOTS} slots`, seconds(there))
    print('  most at work: all, of the limited provider', `${most.total}, ${most.acme}`)
    print('  most that asked their model at a time', `${peak.total}, ${peak.acme}`)
    const { makespanMs: here } = await runTasks(fleet, { ...wanted, launch: { worktree: true } })
    print(`${TASKS} tasks at one machine of ${SLOTS} slots`, seconds(here))
    print('  times as long', (here / there).toFixed(2))
  } finally {
    await fleet.close()
  }
}

/** Runs a task that does nothing at the only worker, and here in a worktree, in turns. */
async function measurePrice(): Promise<void> {
  const fleet = await startFleet(['one'])
  try {
    const [there, here]: [number[], number[]] = [[], []]
    for (let pair = -1; pair < PAIRS; pair += 1) {
      const [away, beside] = [
        await msOfTask(fleet, { where: 'any' }),
        await msOfTask(fleet, { worktree: true }),
      ]
      // The first ones load code.
      if (pair < 0) continue
      there.push(away)
      here.push(beside)
    }
    const show95 = (ms: readonly number[]): string => `${median(ms)} ms (95 %: ${quantile(ms, 0.95)} ms)`
    print("a task of where: 'any', launch to notice", show95(there))
    print('the same task here in a worktree', show95(here))
    print('  times as long', (median(there) / median(here)).toFixed(2))
  } finally {
    await fleet.close()
  }
}

async function msOfTask({ stage }: FleetStage, launch: object): Promise<number> {
  const parent = await stage.parent()
  const began = Date.now()
  const [answer = ''] = await parent.call([backgroundTask('nothing', launch)])
  const { at } = await parent.waitForNotice(idOf(answer))
  await parent.quietBesidesChildren()
  return at - began
}

const { values } = parseArgs({ options: { only: { type: 'string', default: 'queue,kill,hosts,price' } } })
const sections = values.only.split(',')
const postgres = await startPostgres({ isDurable: true })
try {
  if (sections.includes('queue')) await measureVerbs(postgres)
  if (sections.includes('kill')) for (const leaseMs of [10_000, 30_000]) await measureKill(postgres, leaseMs)
} finally {
  await postgres.stop()
}
if (sections.includes('hosts')) await measureHosts()
if (sections.includes('price')) await measurePrice()
