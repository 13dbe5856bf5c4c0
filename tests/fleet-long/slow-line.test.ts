/** Bundles of git on a line that needs longer for them than the time limit of a call. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Claim } from '../../src/fleet/port.ts'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { HandWorker, offerOf, stateOf, workerOf } from '../fleet-contract/fleet-under-test.ts'
import { makeFleetDatabase, WORKER, type FleetDatabase } from '../harness/fleet-database.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'

const BYTES_A_SECOND = 100_000
/** Takes 18 s there: the server allows 10 s for a call, and the client 15 s. */
const BUNDLE = 'x'.repeat(1_800_000)

let postgres: Postgres
let database: FleetDatabase
let line: Server

beforeAll(async () => {
  postgres = await startPostgres()
  database = await makeFleetDatabase(postgres)
  const { hostname, port } = new URL(database.url())
  line = createServer((near) => {
    const far = connect(Number(port), hostname)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    for (const end of [near, far]) end.on('error', () => {})
    const carry = async (from: Socket, to: Socket): Promise<void> => {
      for await (const data of from) {
        await wait(((data as Buffer).length / BYTES_A_SECOND) * 1000)
        to.write(data as Buffer)
      }
    }
    carry(near, far).catch(() => {})
    carry(far, near).catch(() => {})
  })
  line.listen(0, '127.0.0.1')
  await once(line, 'listening')
})
afterAll(async () => {
  line.close()
  await postgres.stop()
})

function slowly(role: string): string {
  const url = new URL(database.url(role))
  url.hostname = '127.0.0.1'
  url.port = `${(line.address() as AddressInfo).port}`
  return url.href
}

test('offers, checkpoints and results arrive on a slow line, and beats do not wait behind them', async () => {
  const jobs = await openJobs(slowly('desk'))
  const claims = await openClaims(slowly(WORKER))
  const ids = ['a.1', 'b.1', 'c.1', 'd.1', 'e.1']
  await Promise.all([
    jobs.offer(offerOf('a.1', { payload: { bundle: BUNDLE } })),
    ...ids.slice(1).map((id) => jobs.offer(offerOf(id))),
  ])
  const one = new HandWorker(claims, workerOf('one', { slots: 5 }))
  const held: Claim[] = []
  while (held.length < ids.length) held.push(await one.claim())
  for (const claim of held) await one.beat(claim)
  const uploads = held.map((claim) => one.beat(claim, { checkpoint: { bundle: BUNDLE } }))
  const over = new AbortController()
  const all = Promise.allSettled(uploads).finally(() => over.abort())
  let slowest = 0
  for (let beats = 0; !over.signal.aborted; beats += 1) {
    const before = performance.now()
    expect(await one.beat(held[beats % held.length]!)).toMatchObject({ type: 'held' })
    slowest = Math.max(slowest, performance.now() - before)
    await wait(500)
  }
  expect(slowest).toBeLessThan(5000)
  // The last one found no connection of its own in time, and is sent again later.
  const answers = (await all).map((answer) => (answer.status === 'fulfilled' ? answer.value.type : 'again'))
  expect(answers.filter((type) => type === 'held')).toHaveLength(4)
  const [first] = held
  expect(await claims.settle(first!, { type: 'result', result: { bundle: BUNDLE } })).toBe(true)
  expect(await stateOf(jobs, first!.offer.id)).toMatchObject({ type: 'ended', result: { bundle: BUNDLE } })
  await jobs.close()
  await claims.close()
}, 150_000)

test('payloads and ends arrive on a slow line, and no other claim waits for them', async () => {
  const fast = { jobs: await openJobs(database.url('desk')), claims: await openClaims(database.url(WORKER)) }
  const slow = { jobs: await openJobs(slowly('desk')), claims: await openClaims(slowly(WORKER)) }
  await fast.jobs.offer(offerOf('f.1', { payload: { bundle: BUNDLE } }))
  await fast.jobs.offer(offerOf('g.1'))
  const far = new HandWorker(slow.claims, workerOf('far'))
  const claim = await far.claim()
  let isThere = false
  const payload = far.payload(claim).finally(() => (isThere = true))
  const near = new HandWorker(fast.claims, workerOf('near'))
  const other = await near.claim()
  await near.beat(other)
  expect(await fast.claims.settle(other, { type: 'result', result: { bundle: BUNDLE } })).toBe(true)
  expect(await far.beat(claim)).toMatchObject({ type: 'held' })
  expect(isThere).toBe(false)
  const state = stateOf(slow.jobs, 'g.1')
  expect(await payload).toEqual({ bundle: BUNDLE })
  expect(await state).toEqual({ type: 'ended', worker: 'near', result: { bundle: BUNDLE } })
  for (const { jobs, claims } of [fast, slow]) {
    await jobs.close()
    await claims.close()
  }
}, 150_000)
