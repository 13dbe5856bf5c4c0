/**
 * Measures the fleet's queue on a PostgreSQL of this machine: `npm run bench:fleet`. Fails if work is lost or done twice, or if a
 * job of a killed worker is later at the next one than its lease and 5 s.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { PROTOCOL, type Claim, type Claims } from '../../src/fleet/port.ts'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { startClaiming } from '../harness/claiming.ts'
import { makeFleetDatabase, WORKER } from '../harness/fleet-database.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'

const WORKERS = 16
const JOBS = 400
const BEATS = 1600
/** How often a worker with a free slot asks. */
const POLL_MS = 2000
const LATE_MS = 5000

type Opened = Claims & { close(): Promise<void> }

function show(what: string, count: number, ms: number): void {
  process.stdout.write(`${what.padEnd(44)} ${Math.round((count / ms) * 1000)} a second\n`)
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
  await sleep(POLL_MS)
  await first.kill()
  const tookMs = await timed(async () => void (await second.line(({ claimed }) => claimed !== undefined)))
  await second.kill()
  await jobs.close()
  process.stdout.write(
    `${`from a kill to the next claim, lease ${leaseMs / 1000} s`.padEnd(44)} ${(tookMs / 1000).toFixed(1)} s\n`,
  )
  if (tookMs > leaseMs + LATE_MS) throw new Error(`later than the lease and ${LATE_MS / 1000} s`)
}

const postgres = await startPostgres({ isDurable: true })
try {
  await measureVerbs(postgres)
  await measureKill(postgres, 10_000)
  await measureKill(postgres, 30_000)
} finally {
  await postgres.stop()
}
