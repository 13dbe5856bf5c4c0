/** A database whose disk is full: a small file system of its own, which only root can mount. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { HandWorker, offerOf, stateOf, workerOf } from '../fleet-contract/fleet-under-test.ts'
import { makeFleetDatabase, WORKER } from '../harness/fleet-database.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'
import { mountDisk, type SmallDisk } from '../harness/small-disk.ts'

const KEPT_BYTES = 1_000_000
const JOB_BYTES = 3_000_000

let directory: string
let disk: SmallDisk
let postgres: Postgres

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'disk-'))
  disk = mountDisk(directory, 160_000_000)
  postgres = await startPostgres({ directory })
})
afterAll(async () => {
  await postgres.stop()
  disk.close()
  rmSync(directory, { recursive: true })
})

test('a full disk of the database refuses what needs room with the reason, and the same calls work once there is some', async () => {
  const database = await makeFleetDatabase(postgres)
  const jobs = await openJobs(database.url('desk'))
  const claims = await openClaims(database.url(WORKER))
  const one = new HandWorker(claims, workerOf('one'))
  await jobs.offer(offerOf('a.1'))
  const claim = await one.claim()
  await one.beat(claim)
  disk.fill(KEPT_BYTES)
  const big = { text: randomBytes(JOB_BYTES).toString('base64') }
  await expect(jobs.offer(offerOf('b.1', { payload: big }))).rejects.toThrow(/is full: free some/)
  await expect(claims.settle(claim, { type: 'result', result: big })).rejects.toThrow(/is full: free some/)
  expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed', isPrompted: true })
  expect(await stateOf(jobs, 'b.1')).toBeUndefined()
  disk.free()
  expect(await claims.settle(claim, { type: 'result', result: big })).toBe(true)
  await jobs.offer(offerOf('b.1', { payload: big }))
  expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', result: big })
  one.holding = []
  expect(await one.payload(await one.claim())).toEqual(big)
  await jobs.close()
  await claims.close()
})
