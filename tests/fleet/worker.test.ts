/** A task of a fleet on a real PostgreSQL: the built worker as a process beside its own OpenCode, and a launcher beside another. */
import { createOpencodeClient } from '@opencode-ai/sdk'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { bundle } from '../../scripts/build.ts'
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

function start(name: string, url = database.url(WORKER)): WorkerProcess {
  const args = ['--url', other.url, '--directory', join(other.home, 'clone'), '--trees', join(state, 'trees')]
  return startProgram(
    [process.execPath, join(dist, 'command.js'), 'worker', '--db', '{env:FLEET_DB}', '--name', name, ...args],
    { FLEET_DB: url, XDG_STATE_HOME: join(state, name) },
  )
}

async function task(prompt: string): Promise<string> {
  const parent = await stage.parent()
  const { id } = await by.launch({
    parentID: parent.id,
    agent: 'general',
    description: prompt,
    prompt,
    where: 'any',
  })
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

test('SIGTERM drains a worker, and its process ends', async () => {
  await worker.end('SIGTERM')
  expect(worker.output).toContain('opencode-background worker: drained\n')
})
