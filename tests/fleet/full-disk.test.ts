/** A database whose disk is full: a small file system of its own, which only root can mount. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { HandWorker, offerOf, stateOf, workerOf } from '../fleet-contract/fleet-under-test.ts'
import { makeFleetDatabase, WORKER } from '../harness/fleet-database.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'

const KEPT_BYTES = 1_000_000
const JOB_BYTES = 3_000_000

/** Runs a program as root. */
function asRoot(program: string, ...args: readonly string[]): void {
  const [command, ...more] = process.getuid?.() === 0 ? [program, ...args] : ['sudo', program, ...args]
  execFileSync(command, more)
}

let disk: string
let postgres: Postgres

beforeAll(async () => {
  disk = mkdtempSync(join(tmpdir(), 'disk-'))
  asRoot('mount', '-t', 'tmpfs', '-o', 'size=160m,mode=777', 'full', disk)
  postgres = await startPostgres({ directory: disk })
})
afterAll(async () => {
  await postgres.stop()
  asRoot('umount', disk)
  rmSync(disk, { recursive: true })
})

test('a full disk of the database refuses what needs room with the reason, and the same calls work once there is some', async () => {
  const database = await makeFleetDatabase(postgres)
  const jobs = await openJobs(database.url('desk'))
  const claims = await openClaims(database.url(WORKER))
  const one = new HandWorker(claims, workerOf('one'))
  await jobs.offer(offerOf('a.1'))
  const claim = await one.claim()
  await one.beat(claim)
  const { bavail, bsize } = statfsSync(disk)
  const filler = join(disk, 'filler')
  writeFileSync(filler, Buffer.alloc(bavail * bsize - KEPT_BYTES))
  const big = { text: randomBytes(JOB_BYTES).toString('base64') }
  await expect(jobs.offer(offerOf('b.1', { payload: big }))).rejects.toThrow(/is full: free some/)
  await expect(claims.settle(claim, { type: 'result', result: big })).rejects.toThrow(/is full: free some/)
  expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'claimed', isPrompted: true })
  expect(await stateOf(jobs, 'b.1')).toBeUndefined()
  rmSync(filler)
  expect(await claims.settle(claim, { type: 'result', result: big })).toBe(true)
  await jobs.offer(offerOf('b.1', { payload: big }))
  expect(await stateOf(jobs, 'a.1')).toMatchObject({ type: 'ended', result: big })
  one.holding = []
  expect(await one.payload(await one.claim())).toEqual(big)
  await jobs.close()
  await claims.close()
})
