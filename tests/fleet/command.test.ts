/** `opencode-background fleet`, as it is built, on a real PostgreSQL. */
import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bundle } from '../../scripts/build.ts'
import { PROTOCOL } from '../../src/fleet/port.ts'
import { openClaims, openJobs } from '../../src/fleet/postgres/postgres-fleet.ts'
import { PASSWORD, startPostgres, type Postgres } from '../harness/postgres.ts'

const run = promisify(execFile)
let postgres: Postgres
let dist: string

beforeAll(async () => {
  postgres = await startPostgres()
  dist = mkdtempSync(join(tmpdir(), 'dist-'))
  await bundle(dist, {
    command: 'command.ts',
    'fleet-command': 'fleet/postgres/fleet-command.ts',
    migrate: 'fleet/postgres/migrate.ts',
  })
  const client = new Client({ connectionString: postgres.url('postgres') })
  await client.connect()
  // An administrator as those of hosted databases: no superuser.
  for (const statement of [
    `create role owner login createrole password '${PASSWORD}'`,
    'create database team owner owner',
  ])
    await client.query(statement)
  await client.end()
})
afterAll(async () => {
  rmSync(dist, { recursive: true })
  await postgres.stop()
})

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function fleet(role: string, ...args: readonly string[]): Promise<Ran> {
  const env = { ...process.env, FLEET_DB: postgres.url('team', role) }
  return run(process.execPath, [join(dist, 'command.js'), 'fleet', ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: unknown) => error as Ran,
  )
}

test('a database becomes a queue by one command, and the status shows what is in it', async () => {
  const before = await fleet('owner', 'status')
  expect(before).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no fleet of this version') as string,
  })
  expect(await fleet('owner', 'migrate', '--limit', 'total=12', '--limit', 'provider:acme=5')).toEqual({
    code: 0,
    stdout: 'The database is the queue of a fleet now. The limits are set.\n',
    stderr: '',
  })
  expect((await fleet('owner', 'migrate')).stdout).toBe('The database is up to date.\n')
  const client = new Client({ connectionString: postgres.url('team', 'owner') })
  await client.connect()
  for (const [role, group] of [
    ['desk', 'fleet_launcher'],
    ['lab', 'fleet_launcher'],
    ['worker', 'fleet_worker'],
  ] as const)
    await client.query(`create role ${role} login password '${PASSWORD}' in role ${group}`)
  await client.end()
  const jobs = await openJobs(postgres.url('team', 'desk'))
  const claims = await openClaims(postgres.url('team', 'worker'))
  const worker = { name: 'big', identity: 'i', process: 'p', protocol: PROTOCOL, labels: ['gpu'], slots: 2 }
  for (const id of ['a.1', 'a.2']) await jobs.offer({ id, labels: [], provider: 'acme', payload: {} })
  expect(await fleet('owner', 'migrate', '--lease', '12')).toMatchObject({
    code: 0,
    stdout: 'The database is up to date. The lease is 12 s.\n',
  })
  const answer = await claims.claim({ worker, number: 1, holding: [], wants: 'any' })
  if (answer.type !== 'claimed') throw new Error(answer.type)
  expect(answer.claim.leaseMs).toBe(12_000)
  await claims.beat(answer.claim, {
    phase: 'prompted',
    heard: [],
    backoff: { provider: 'other', forMs: 90_000 },
  })
  await jobs.close()
  await claims.close()
  expect(await fleet('owner', 'migrate', '--lease', '10')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('the lease cannot change while agents are at work') as string,
  })
  const { stdout } = await fleet('owner', 'status')
  expect(stdout.replaceAll(/last beat \d+ s/g, 'last beat N s').replaceAll(/for \d+ s/g, 'for N s')).toBe(
    [
      'Workers',
      `  big  protocol ${PROTOCOL}  1 of 2 slots  last beat N s ago  gpu`,
      '',
      'Queue',
      '  all   1 waiting  1 working  0 untold',
      '  desk  1 waiting  1 working  0 untold',
      '',
      'Limits',
      '  total          1 of 12 at work',
      '  provider acme  1 of 5 at work',
      '',
      'Providers that hold back',
      '  other  for N s',
      '',
    ].join('\n'),
  )
  const ofLab = JSON.parse((await fleet('lab', 'status', '--json')).stdout) as object
  expect(ofLab).toMatchObject({ waiting: 1, working: 1, owners: [] })
  const ofDesk = JSON.parse((await fleet('desk', 'status', '--json')).stdout) as object
  expect(ofDesk).toMatchObject({ owners: [{ owner: 'desk', waiting: 1, working: 1 }] })
})

test('the URL comes from a variable or a private file, and mistakes say what to do', async () => {
  const file = join(dist, 'url')
  writeFileSync(file, postgres.url('team', 'owner'), { mode: 0o600 })
  expect(await fleet('nobody', 'status', '--db', file)).toMatchObject({ code: 0 })
  chmodSync(file, 0o644)
  const refusals: readonly (readonly [readonly string[], string])[] = [
    [['status', '--db', file], `chmod 600 ${file}`],
    [['status', '--db', postgres.url('team')], 'put it in an environment variable'],
    [['status', '--limit', 'total=1'], '--limit is for fleet migrate'],
    [['status', '--lease', '10'], '--lease is for fleet migrate'],
    [['migrate', '--lease', '4'], '--lease must be a whole number of seconds of at least 5, and not "4"'],
    [['migrate', '--limit', 'model:acme=1'], 'expected total=12, provider:NAME=5, model:PROVIDER/NAME=2'],
    [[], 'fleet migrate, or fleet status'],
    [['status', '--nope'], "Unknown option '--nope'"],
  ]
  for (const [args, text] of refusals) {
    const refused = await fleet('owner', ...args)
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining(text) as string })
    expect(refused.stderr).not.toContain(PASSWORD)
  }
  expect(await fleet('desk', 'migrate', '--limit', 'total=99')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('desk may not do this') as string,
  })
})
