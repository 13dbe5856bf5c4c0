/** A task of a fleet on a real PostgreSQL: the built worker as a process beside its own OpenCode, and a launcher beside another. */
import { createOpencodeClient } from '@opencode-ai/sdk'
import type { Plugin } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { bundle } from '../../scripts/build.ts'
import { PROTOCOL } from '../../src/fleet/port.ts'
import { BackgroundManager } from '../../src/manager.ts'
import { makeFleetDatabase, WORKER, type FleetDatabase } from '../harness/fleet-database.ts'
import { PASSWORD, startPostgres, type Postgres } from '../harness/postgres.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'
import { startStage, type Stage } from '../harness/stage.ts'
import { writes } from '../harness/trees.ts'
import { startProgram, type WorkerProcess } from '../harness/worker-process.ts'

let postgres: Postgres
let database: FleetDatabase
let stage: Stage
let other: OpencodeServer
let state: string
let dist: string
let by: BackgroundManager
let worker: WorkerProcess

beforeAll(async () => {
  state = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-fleet-')))
  mkdirSync(join(state, 'trees'))
  dist = join(state, 'dist')
  await bundle(dist)
  postgres = await startPostgres({ isDurable: true })
  database = await makeFleetDatabase(postgres)
  const config = { permission: { external_directory: 'allow' } }
  stage = await startStage({ config })
  other = await startOpencode({ model: stage.model, config: { snapshot: false, ...config } })
  execFileSync('git', ['clone', '--quiet', stage.server.directory, join(other.home, 'clone')])
  const usual = stage.model.script
  const agent = writes('page.txt', 'one\n')
  stage.model.script = (request) => (request.parentSessionID === undefined ? usual : agent)(request)
  worker = start('one')
  process.env['FLEET_DB'] = database.url('desk')
})
afterAll(async () => {
  delete process.env['FLEET_DB']
  await worker.end('SIGKILL')
  await other.stop()
  await stage.close()
  await postgres.stop()
  rmSync(state, { recursive: true, force: true })
})
beforeEach(async () => {
  const { url, directory } = stage.server
  const client = createOpencodeClient({ baseUrl: url, directory })
  by = new BackgroundManager({
    name: 'launcher',
    client,
    directory,
    options: { fleet: { db: 'FLEET_DB' } },
  })
  await by.follow()
})
afterEach(() => by.dispose())

function start(name: string, url = database.url(WORKER), built = dist): WorkerProcess {
  const args = ['--url', other.url, '--directory', join(other.home, 'clone'), '--trees', join(state, 'trees')]
  return startProgram(
    [
      process.execPath,
      join(built, 'command.js'),
      'worker',
      '--db',
      '{env:FLEET_DB}',
      '--name',
      name,
      ...args,
    ],
    { FLEET_DB: url, XDG_STATE_HOME: join(state, name) },
  )
}

/** Builds a worker that speaks the protocol before this one. */
async function buildOlder(outdir: string): Promise<void> {
  const older: Plugin = {
    name: 'older protocol',
    setup(bundler) {
      bundler.onLoad({ filter: /\/fleet\/port\.ts$/ }, ({ path }) => {
        const [now, then] = [PROTOCOL, PROTOCOL - 1].map((each) => `const PROTOCOL = ${each}\n`)
        return { contents: readFileSync(path, 'utf8').replace(now ?? '', then ?? ''), loader: 'ts' }
      })
    },
  }
  const entries = { command: 'command.ts', 'worker-command': 'fleet/worker/worker-command.ts' }
  await bundle(outdir, { ...entries, 'postgres-fleet': 'fleet/postgres/postgres-fleet.ts' }, [older])
}

/** @param whenWaiting called once the task is launched, before its end is waited for */
async function task(prompt: string, whenWaiting = (): Promise<void> => Promise.resolve()): Promise<string> {
  const parent = await stage.parent()
  const { id } = await by.launch({
    parentID: parent.id,
    agent: 'general',
    description: prompt,
    prompt,
    where: 'any',
  })
  await whenWaiting()
  await by.waitForCompletion(id)
  await parent.waitForNotice('written in')
  await parent.say('And now?')
  expect(parent.noticeTurns).toHaveLength(1)
  return execFileSync('git', [
    '-C',
    stage.server.directory,
    'show',
    `opencode-background/${id}-${prompt.replaceAll(' ', '-')}:page.txt`,
  ]).toString()
}

test('a task goes through PostgreSQL to a worker, its branch comes back, and its end is told once', async () => {
  expect(await task('write a page')).toBe('one\n')
})

test('a task that is launched after PostgreSQL was killed and started again comes back as well', async () => {
  await postgres.kill()
  await postgres.start()
  expect(await task('write after the crash')).toBe('one\n')
})

test('a worker with a wrong password, without a database or with the role of a launcher says what to do', async () => {
  const refused: readonly (readonly [string, string, string])[] = [
    ['wrong', database.url(WORKER).replace(PASSWORD, 'wrong'), 'check the name and the password'],
    ['none', `postgres://worker:${PASSWORD}@127.0.0.1:1/fleet`, 'ECONNREFUSED'],
  ]
  for (const [name, url, text] of refused) {
    const started = start(name, url)
    await started.end()
    expect(started.output).toContain(text)
    expect(started.output).not.toContain(PASSWORD)
  }
  const launcher = start('launcher', database.url('desk'))
  await expect.poll(() => launcher.output).toContain('a worker of fleet_worker')
  await launcher.end('SIGTERM')
})

test('a worker of an older version says which versions meet, and takes no job, which another one does', async () => {
  const older = join(state, 'older')
  await buildOlder(older)
  await worker.end('SIGTERM')
  const phases = (): Promise<object[]> =>
    database.ask(`select phase, worker from fleet.job where phase not in ('ended', 'forgotten')`)
  const content = await task('write by a newer one', async () => {
    await expect.poll(phases).toEqual([{ phase: 'waiting', worker: null }])
    const old = start('old', undefined, older)
    await expect.poll(() => old.output).not.toBe('')
    expect(old.output).toBe(
      `opencode-background worker: worker old speaks version ${PROTOCOL - 1} of the protocol, and this database version ${PROTOCOL}: install the same version of opencode-background in both\n`,
    )
    expect(await phases()).toEqual([{ phase: 'waiting', worker: null }])
    expect(await database.ask(`select from fleet.worker where name = 'old'`)).toEqual([])
    worker = start('one')
    await old.end('SIGTERM')
    expect(old.output).toContain('drained')
  })
  expect(content).toBe('one\n')
})

test('of two workers of one name that start at the same moment, one is replaced and ends, and the other does the tasks', async () => {
  await worker.end('SIGTERM')
  const holder = join(state, 'twin', 'opencode-background', 'worker-processes', 'twin')
  const twins = [start('twin')]
  await expect.poll(() => existsSync(holder)).toBe(true)
  // As if the second one had looked before the first one wrote that.
  rmSync(holder)
  twins.push(start('twin'))
  const over = (): readonly boolean[] => twins.map(({ output }) => output.endsWith('worker: replaced\n'))
  await expect.poll(over).toContain(true)
  expect(await task('write by a twin')).toBe('one\n')
  expect(over().filter(Boolean)).toHaveLength(1)
  for (const twin of twins) await twin.end('SIGTERM')
  worker = start('one')
})

test('SIGTERM drains a worker, and its process ends', async () => {
  await worker.end('SIGTERM')
  expect(worker.output).toContain('opencode-background worker: drained\n')
})
