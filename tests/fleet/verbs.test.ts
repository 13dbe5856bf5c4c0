/** The verbs of the port on a real PostgreSQL, and who may use them. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { JobState, Offer } from '../../src/fleet/launcher/jobs.ts'
import { PROTOCOL, type Beat, type Claim, type ClaimRequest, type Fence } from '../../src/fleet/port.ts'
import { migrate } from '../../src/fleet/postgres/migrate.ts'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { makeFleetDatabase, WORKER, type FleetDatabase } from '../harness/fleet-database.ts'
import { PASSWORD, startPostgres, type Postgres } from '../harness/postgres.ts'

let postgres: Postgres
let database: FleetDatabase
let jobs: Awaited<ReturnType<typeof openJobs>>
let claims: Awaited<ReturnType<typeof openClaims>>
let requests = 0

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())
beforeEach(async () => {
  database = await makeFleetDatabase(postgres, {
    limits: [
      { scope: 'total', key: '', most: 4 },
      { scope: 'provider', key: 'acme', most: 2 },
      { scope: 'model', key: 'acme/big', most: 1 },
    ],
  })
  jobs = await openJobs(database.url('desk'))
  claims = await openClaims(database.url(WORKER))
})
afterEach(async () => {
  await jobs.close()
  await claims.close()
})

function offer(id: string, more: Partial<Offer> = {}): Offer {
  return { id, labels: [], payload: { prompt: 'work' }, ...more }
}

function request(
  more: Partial<ClaimRequest> = {},
  worker: Partial<ClaimRequest['worker']> = {},
): ClaimRequest {
  requests += 1
  const one = {
    name: 'one',
    identity: 'i1',
    process: 'p1',
    protocol: PROTOCOL,
    labels: [],
    slots: 9,
    ...worker,
  }
  return { worker: one, number: requests, holding: [], wants: 'any', ...more }
}

const beat = (phase: Beat['phase'], more: Partial<Beat> = {}): Beat => ({ phase, heard: [], ...more })

async function claim(...args: Parameters<typeof request>): Promise<Claim> {
  const answer = await claims.claim(request(...args))
  if (answer.type !== 'claimed') throw new Error(JSON.stringify(answer))
  return answer.claim
}

async function stateOf(id: string): Promise<JobState | undefined> {
  return (await jobs.states([id])).get(id)
}

/** Has the lease of a claim run out. */
async function expire({ job }: Fence): Promise<void> {
  await database.ask(`update fleet.job set lease_until = now() - interval '1 ms' where entry = '${job}'`)
}

test('a job goes from its offer to its end, and is forgotten once its launcher has it', async () => {
  await jobs.offer(offer('bg_1.1', { payload: { prompt: 'a \u0000 \uD800 b', nothing: null } }))
  await jobs.offer(offer('bg_1.1', { payload: { prompt: 'another' } }))
  const held = await claim()
  expect(held).toMatchObject({
    owner: 'desk',
    attempt: 1,
    type: 'start',
    offer: { id: 'bg_1.1' },
  })
  expect(await claims.payload(held)).toEqual({ prompt: 'a \u0000 \uD800 b', nothing: null })
  expect(await stateOf('bg_1.1')).toMatchObject({ type: 'claimed', worker: 'one', isPrompted: false })
  expect(await claims.beat(held, beat('prompted', { report: { says: null } }))).toEqual({
    type: 'held',
    isCancelled: false,
    messages: [],
  })
  expect(await stateOf('bg_1.1')).toMatchObject({ isPrompted: true })
  expect(await claims.settle(held, { type: 'result', result: { text: '\0', none: null } })).toBe(true)
  expect(await claims.settle(held, { type: 'result', result: { text: '\0', none: null } })).toBe(true)
  expect(await stateOf('bg_1.1')).toEqual({
    type: 'ended',
    worker: 'one',
    result: { text: '\0', none: null },
  })
  await jobs.acknowledge('bg_1.1')
  expect(await stateOf('bg_1.1')).toBeUndefined()
  await jobs.offer(offer('bg_1.1'))
  expect(await claims.claim(request())).toEqual({ type: 'none' })
})

test('the row of pg-boss has the id of its job alone, and follows its phases', async () => {
  const rows = (): Promise<unknown[]> => database.ask('select state, data, output from fleet_queue.job')
  await jobs.offer(offer('bg_1.1'))
  expect(await rows()).toEqual([{ state: 'created', data: { id: 'bg_1.1' }, output: null }])
  const held = await claim()
  expect(await rows()).toMatchObject([{ state: 'active' }])
  await claims.settle(held, { type: 'result', result: { text: 'done' } })
  expect(await rows()).toEqual([{ state: 'completed', data: { id: 'bg_1.1' }, output: null }])
  await jobs.acknowledge('bg_1.1')
  expect(await rows()).toEqual([])
})

test('claims keep to the limits of a model, a provider, all, and the slots of a worker', async () => {
  const model = { provider: 'acme', model: 'acme/big' }
  await jobs.offer(offer('a.1', model))
  await jobs.offer(offer('a.2', model))
  await jobs.offer(offer('a.3', { provider: 'acme', model: 'acme/small' }))
  await jobs.offer(offer('a.4', { provider: 'acme', model: 'acme/small' }))
  for (const id of ['b.1', 'b.2', 'b.3']) await jobs.offer(offer(id))
  const holding: Claim[] = []
  expect(await claims.claim(request({}, { slots: 0 }))).toEqual({ type: 'none' })
  for (const id of ['a.1', 'a.3', 'b.1', 'b.2']) {
    holding.push(await claim({ holding }))
    expect(holding.at(-1)?.offer.id).toBe(id)
  }
  expect(await claims.claim(request({ holding }))).toEqual({ type: 'none' })
  await claims.settle(holding.shift() as Claim, { type: 'result', result: {} })
  expect((await claim({ holding })).offer.id).toBe('a.2')
})

test('many workers that claim at once never exceed the total limit', async () => {
  for (let job = 1; job <= 20; job += 1) await jobs.offer(offer(`j.${job}`))
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, number) =>
      claims.claim(request({}, { name: `w${number}`, identity: `i${number}`, process: `p${number}` })),
    ),
  )
  const ids = answers.flatMap((answer) => (answer.type === 'claimed' ? [answer.claim.offer.id] : []))
  expect(new Set(ids).size).toBe(4)
  expect(ids).toHaveLength(4)
})

test("a provider's back-off that one worker reports holds back every worker", async () => {
  await jobs.offer(offer('a.1', { provider: 'other' }))
  await jobs.offer(offer('a.2', { provider: 'other' }))
  const held = await claim()
  await claims.beat(held, beat('prompted', { backoff: { provider: 'other', forMs: 60_000 } }))
  const two = { name: 'two', identity: 'i2', process: 'p2' }
  expect(await claims.claim(request({}, two))).toEqual({ type: 'none' })
  await database.ask('update fleet.backoff set until = now()')
  expect((await claim({}, two)).offer.id).toBe('a.2')
})

test('a job that was lost before its prompt goes to another worker, and ends after three', async () => {
  await jobs.offer(offer('a.1'))
  for (const name of ['w1', 'w2', 'w3']) {
    const held = await claim({}, { name, identity: name })
    await expire(held)
    expect(await claims.beat(held, beat('prompted'))).toEqual({ type: 'lost' })
  }
  expect(await stateOf('a.1')).toMatchObject({
    type: 'ended',
    why: expect.stringContaining(
      'was never prompted: 3 claims came to nothing; the last, of worker w3',
    ) as string,
  })
})

test('a job that was lost after its prompt is resumed by its own worker alone, with a greater fence', async () => {
  await jobs.offer(offer('a.1'))
  const first = await claim()
  await claims.beat(first, beat('prompted', { checkpoint: { commit: 'c' } }))
  await expire(first)
  expect(await claims.claim(request({}, { name: 'two', identity: 'i2' }))).toEqual({ type: 'none' })
  const resumed = await claim({}, { process: 'p2' })
  expect(resumed).toMatchObject({ type: 'resume', fence: first.fence + 1 })
  expect(await claims.beat(first, beat('prompted'))).toEqual({ type: 'lost' })
  expect(await claims.settle(first, { type: 'result', result: {} })).toBe(false)
  expect(await claims.claim(request({}, { process: 'p1' }))).toEqual({ type: 'replaced' })
  await expire(resumed)
  await stateOf('a.1')
  await database.ask(`update fleet.job set resume_until = now()`)
  expect(await stateOf('a.1')).toEqual({
    type: 'ended',
    worker: 'one',
    why: 'worker one was lost, and did not come back in time',
    checkpoint: { commit: 'c' },
  })
})

test('a cancel reaches the worker with its next beat, and a prompt that comes with it is not accepted', async () => {
  await jobs.offer(offer('a.1'))
  const held = await claim()
  expect(await jobs.cancel('a.1')).toBe(true)
  expect(await claims.beat(held, beat('prompted'))).toMatchObject({ isCancelled: true })
  expect(await stateOf('a.1')).toMatchObject({ isPrompted: false })
  expect(await claims.settle(held, { type: 'cancelled' })).toBe(true)
  expect(await stateOf('a.1')).toMatchObject({ type: 'ended', isCancelled: true })
  expect(await jobs.cancel('unknown.1')).toBe(false)
  await jobs.offer(offer('unknown.1'))
  expect(await claims.claim(request())).toEqual({ type: 'none' })
})

test('messages come in their order after the prompt, until they were heard', async () => {
  await jobs.offer(offer('a.1'))
  const held = await claim()
  for (const id of ['m2', 'm1', 'm2'])
    expect(await jobs.say('a.1', { id, text: `text of ${id}\0` })).toBe(true)
  expect(await claims.beat(held, beat('starting'))).toMatchObject({ messages: [] })
  expect(await claims.beat(held, beat('prompted'))).toMatchObject({ messages: [{ id: 'm2' }, { id: 'm1' }] })
  expect(await claims.beat(held, beat('prompted', { heard: ['m2'] }))).toMatchObject({
    messages: [{ id: 'm1' }],
  })
  await claims.settle(held, { type: 'result', result: {} })
  expect(await jobs.say('a.1', { id: 'm3', text: 'late' })).toBe(false)
})

test('a second worker of a name is refused while the first one lives, and a worker of another protocol always', async () => {
  await claims.claim(request())
  expect(await claims.claim(request({}, { identity: 'i2', process: 'p2' }))).toMatchObject({
    type: 'refused',
    why: expect.stringMatching(/^another worker has the name one, .* --name$/) as string,
  })
  expect(await claims.claim(request({}, { name: 'old', protocol: 0 }))).toMatchObject({
    type: 'refused',
    why: expect.stringContaining('version 0 of the protocol, and this database version 2: install') as string,
  })
})

test('a launcher reads and changes its own jobs alone, and no role does what is not its part', async () => {
  await jobs.offer(offer('a.1', { payload: { owner: 'lab', secret: 'of desk' } }))
  const lab = await openJobs(database.url('lab'))
  try {
    expect(await lab.states(['a.1'])).toEqual(new Map())
    expect(await lab.say('a.1', { id: 'm', text: 'hello' })).toBe(false)
    await lab.acknowledge('a.1')
    await lab.cancel('a.1')
  } finally {
    await lab.close()
  }
  expect(await stateOf('a.1')).toEqual({ type: 'waiting' })
  expect(await database.ask('select id from fleet.job', 'desk')).toEqual([{ id: 'a.1' }])
  expect(
    await database.ask(`select id from fleet.job where id = 'a.1' and payload is not null`, 'lab'),
  ).toEqual([])
  const refused = {
    desk: [
      `select fleet.claim('{}')`,
      `select fleet.payload(gen_random_uuid(), 1)`,
      `insert into fleet.job (owner, id) values ('lab', 'forged')`,
      `update fleet.job set owner = 'lab'`,
      `insert into fleet_queue.job (name) values ('jobs')`,
      `select fleet.end_job(null, 'result', null, null)`,
      `set role lab`,
      `set session authorization lab`,
    ],
    [WORKER]: [
      `select fleet.offer('{"id":"x"}', '{}')`,
      `select * from fleet.job`,
      `select fleet.states(array['a.1'])`,
      `select fleet.end_of('a.1')`,
      `select * from fleet_queue.job`,
    ],
  }
  for (const [role, queries] of Object.entries(refused))
    for (const query of queries)
      await expect(database.ask(query, role), `${role}: ${query}`).rejects.toThrow(/permission denied/)
  const claimed = await claim()
  expect(claimed.owner).toBe('desk')
})

test('no row has a password, and none has what a job was once it is acknowledged', async () => {
  await jobs.offer(offer('a.1', { payload: { prompt: 'a prompt to forget' } }))
  const held = await claim()
  await jobs.say('a.1', { id: 'm', text: 'a message to forget' })
  await claims.beat(held, beat('prompted', { report: { doing: 'a report to forget' } }))
  await claims.settle(held, { type: 'result', result: { text: 'a result to forget' } })
  expect(await allRows()).toContain('a result to forget')
  await jobs.acknowledge('a.1')
  const rows = await allRows()
  expect(rows).not.toContain('to forget')
  expect(rows).not.toContain(PASSWORD)
  expect(rows).toContain('a.1')
})

/** Returns all rows of both schemas, as text. */
async function allRows(): Promise<string> {
  const tables = await database.ask<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('fleet', 'fleet_queue')`,
  )
  const rows = await Promise.all(tables.map(({ name }) => database.ask(`select t::text from ${name} t`)))
  return JSON.stringify(rows)
}

test('errors say what to do, and never the password', async () => {
  const refusals = {
    [database.url('desk').replace(PASSWORD, 'wrong')]:
      /refuses the role desk: check the name and the password/,
    [postgres.url('nowhere', 'desk')]: /has no database nowhere: check the URL/,
    [postgres.url('postgres', 'desk')]: /no fleet of this version: its administrator runs/,
    [`postgres://desk:${PASSWORD}@127.0.0.1:1/fleet`]: /127.0.0.1:1 did not do it: .*ECONNREFUSED/,
  }
  for (const [url, expected] of Object.entries(refusals)) {
    const error = await openJobs(url).catch((reason: unknown) => reason as Error)
    expect((error as Error).message).toMatch(expected)
    expect((error as Error).message).not.toContain(PASSWORD)
  }
  const asWorker = await openJobs(database.url(WORKER))
  await expect(asWorker.offer(offer('a.1'))).rejects.toThrow('the role worker may not do this')
  await asWorker.close()
})

test('a migration replaces the functions of an earlier version, and leaves the jobs as they are', async () => {
  await jobs.offer(offer('a.1'))
  await database.ask(
    `update fleet.setting set version = 1; drop function fleet.states(text[]); drop function fleet.settle(uuid, bigint, json, json)`,
  )
  expect(await migrate(database.url())).toBe(true)
  expect(await migrate(database.url())).toBe(false)
  expect(await stateOf('a.1')).toEqual({ type: 'waiting' })
  expect(await claims.settle(await claim(), { type: 'released' })).toBe(true)
  await database.ask('update fleet.setting set version = 99')
  await expect(migrate(database.url())).rejects.toThrow('has version 99 of the fleet')
})

test('the states of jobs at work come without their checkpoints', async () => {
  await jobs.offer(offer('a.1'))
  const held = await claim()
  await claims.beat(held, beat('prompted', { checkpoint: { bundle: 'large' }, report: { tokens: 3 } }))
  const columns = (): Promise<unknown[]> =>
    database.ask(`select checkpoint, report from fleet.states(array['a.1'])`, 'desk')
  expect(await columns()).toEqual([{ checkpoint: null, report: { tokens: 3 } }])
  await claims.settle(held, { type: 'interrupted', why: 'gone' })
  expect(await columns()).toEqual([{ checkpoint: { bundle: 'large' }, report: null }])
})
