/** A database that crashes, and workers whose clocks are off or which die. */
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { JobState } from '../../src/fleet/launcher/jobs.ts'
import { PROTOCOL, type Claim, type ClaimAnswer } from '../../src/fleet/port.ts'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { startClaiming, type ClaimingProcess } from '../harness/claiming.ts'
import { makeFleetDatabase, watchRequests, WORKER, type FleetDatabase } from '../harness/fleet-database.ts'
import { startPostgres, type Postgres } from '../harness/postgres.ts'

let postgres: Postgres
let database: FleetDatabase
let jobs: Awaited<ReturnType<typeof openJobs>>
let claims: Awaited<ReturnType<typeof openClaims>>
const processes: ClaimingProcess[] = []

beforeAll(async () => {
  postgres = await startPostgres({ isDurable: true })
})
afterAll(() => postgres.stop())
beforeEach(async () => {
  database = await makeFleetDatabase(postgres)
  jobs = await openJobs(database.url('desk'))
  claims = await openClaims(database.url(WORKER))
})
afterEach(async () => {
  for (const started of processes.splice(0)) await started.kill()
  await jobs.close()
  await claims.close()
})

const offer = (id = 'a.1') => jobs.offer({ id, labels: [], payload: { prompt: 'work' } })
let requests = 0
function claim(number = (requests += 1)): Promise<ClaimAnswer> {
  const worker = { name: 'one', identity: 'i', process: 'p', protocol: PROTOCOL, labels: [], slots: 1 }
  return claims.claim({ worker, number, holding: [], wants: 'any' })
}
async function claimed(): Promise<Claim> {
  return ((await claim()) as Extract<ClaimAnswer, { type: 'claimed' }>).claim
}
async function prompted(): Promise<Claim> {
  await offer()
  const held = await claimed()
  await claims.beat(held, { phase: 'prompted', heard: [] })
  return held
}
async function state(): Promise<JobState | undefined> {
  return (await jobs.states(['a.1'])).get('a.1')
}

const VERBS: Readonly<
  Record<
    string,
    () => Promise<{ readonly verb: () => Promise<unknown>; readonly after: () => Promise<void> }>
  >
> = {
  offer: async () => ({
    verb: () => offer(),
    after: async () => expect(await state()).toEqual({ type: 'waiting' }),
  }),
  claim: async () => {
    await offer()
    const number = (requests += 1)
    return {
      verb: () => claim(number),
      after: async () => expect(await state()).toMatchObject({ type: 'claimed' }),
    }
  },
  beat: async () => {
    await offer()
    const held = await claimed()
    return {
      verb: () => claims.beat(held, { phase: 'prompted', heard: [] }),
      after: async () => expect(await state()).toMatchObject({ type: 'claimed', isPrompted: true }),
    }
  },
  settle: async () => {
    const held = await prompted()
    return {
      verb: () => claims.settle(held, { type: 'result', result: { text: 'done' } }),
      after: async () => expect(await state()).toMatchObject({ type: 'ended', result: { text: 'done' } }),
    }
  },
  cancel: async () => {
    const held = await prompted()
    return {
      verb: () => jobs.cancel('a.1'),
      after: async () =>
        expect(await claims.beat(held, { phase: 'prompted', heard: [] })).toMatchObject({
          isCancelled: true,
        }),
    }
  },
  say: async () => {
    const held = await prompted()
    return {
      verb: () => jobs.say('a.1', { id: 'm', text: 'hello' }),
      after: async () =>
        expect(await claims.beat(held, { phase: 'prompted', heard: [] })).toMatchObject({
          messages: [{ id: 'm', text: 'hello' }],
        }),
    }
  },
  acknowledge: async () => {
    const held = await prompted()
    await claims.settle(held, { type: 'result', result: {} })
    return { verb: () => jobs.acknowledge('a.1'), after: async () => expect(await state()).toBeUndefined() }
  },
}

test.each(Object.keys(VERBS))(
  'a kill of PostgreSQL in the middle of %s has no effect, and the repeated call has it once',
  async (name) => {
    const { verb, after } = await (VERBS[name] as (typeof VERBS)[string])()
    const blocker = new Client({ connectionString: database.url() })
    blocker.on('error', () => {})
    await blocker.connect()
    await blocker.query('begin; lock table fleet.job in access exclusive mode')
    const cut = verb().catch((error: unknown) => error)
    await expect
      .poll(() => database.ask(`select from pg_locks where not granted and relation = 'fleet.job'::regclass`))
      .toHaveLength(1)
    await postgres.kill()
    expect(await cut).toMatchObject({ message: expect.stringContaining('did not do it') as string })
    await postgres.start()
    await verb()
    await after()
    await verb().catch(() => {})
    await after()
  },
)

test('a worker whose clock is two hours ahead holds its lease by the clock of the database alone', async () => {
  const ahead = startClaiming(database.url(WORKER), 'ahead', 100, '+2h')
  processes.push(ahead)
  await offer()
  const { clock = 0 } = await ahead.line(({ beat }) => beat === 'held')
  expect(clock - Date.now()).toBeGreaterThan(7_000_000)
  const [row] = await database.ask<{ lease: number; silent: number }>(
    `select extract(epoch from lease_until - now())::float as lease, extract(epoch from now() - beat_at)::float as silent from fleet.job`,
  )
  expect(row?.lease).toBeGreaterThan(20)
  expect(row?.lease).toBeLessThanOrEqual(30)
  expect(row?.silent).toBeLessThan(10)
})

test('the job of a killed worker that was not prompted is given to the first request after its lease has run out', async () => {
  await database.ask('update fleet.setting set lease_ms = 2000')
  const asked = await watchRequests(database, 'second')
  await offer()
  const first = startClaiming(database.url(WORKER), 'first', 100)
  processes.push(first)
  await first.line(({ beat }) => beat === 'held')
  const second = startClaiming(database.url(WORKER), 'second', 100)
  processes.push(second)
  await expect.poll(asked).not.toEqual([])
  await first.kill()
  expect(await second.line(({ claimed: id }) => id !== undefined)).toEqual({ claimed: 'a.1' })
  const seen = await asked()
  expect(seen.filter(({ isClaim, isLate }) => isClaim && !isLate)).toEqual([])
  expect(seen.find(({ isLate }) => isLate)).toEqual({ isLate: true, isClaim: true })
})

test('the watcher of a launcher hears again after PostgreSQL was killed and has started', async () => {
  const abort = new AbortController()
  let heard = 0
  jobs.watch(() => (heard += 1), abort.signal)
  await postgres.kill()
  await postgres.start()
  await expect.poll(() => heard).toBeGreaterThan(0)
  const before = heard
  await offer()
  await claimed()
  await expect.poll(() => heard).toBeGreaterThan(before)
  abort.abort()
})
