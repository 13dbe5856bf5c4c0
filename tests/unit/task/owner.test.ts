import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { processKey, processStat, systemOwners } from '../../../src/task/owner.ts'

const NAME = 'opencode-background'
const owners = systemOwners(NAME, '/project')
const { self } = owners
const isGone = (owner: typeof self): boolean => owners.isGone(owner)

test('an earlier instance of this process is gone, because a project has one at a time', () => {
  expect(isGone(self)).toBe(true)
})

test('two unnamed managers of one process do not count each other as gone', () => {
  const unnamed = systemOwners(undefined, '/project')
  expect(unnamed.isGone(systemOwners(undefined, '/project').self)).toBe(false)
  expect(unnamed.isGone({ ...unnamed.self, pid: 2 ** 22 + 1, process: 'long ago' })).toBe(true)
})

test('a process whose identity the system does not report is not gone while its pid exists', () => {
  expect(isGone({ ...self, pid: process.ppid, process: '' })).toBe(false)
})

test('a manager of another name or project never counts as gone', () => {
  const dead = { ...self, pid: 2 ** 22 + 1, process: 'long ago' }
  expect(isGone(dead)).toBe(true)
  expect(isGone({ ...dead, name: 'library' })).toBe(false)
  expect(isGone({ ...dead, directory: '/elsewhere' })).toBe(false)
})

const SYSTEM = { machine: 'm', boot: 'b', namespace: 'pid:[1]' }
const dead = { ...self, pid: 2 ** 22 + 1, process: 'long ago' }

/** Whether the owner recorded on system `there` counts as gone when checked from system `here`. */
const isGoneFrom = (here: Partial<typeof SYSTEM>, there: Partial<typeof SYSTEM>, host = self.host): boolean =>
  systemOwners(NAME, '/project', () => ({ ...SYSTEM, ...here })).isGone({
    ...dead,
    host,
    system: { ...SYSTEM, ...there },
  })

test('R11: a dead owner is gone even after the host name has changed', () => {
  expect(isGoneFrom({}, {}, 'the name before')).toBe(true)
})

test('R11: a container does not count the processes of another container as gone', () => {
  expect(isGoneFrom({}, { namespace: 'pid:[2]' })).toBe(false)
})

test('R11: an owner from before a reboot of this machine is gone, an owner on another machine is not', () => {
  const data = mkdtempSync(join(tmpdir(), 'data-'))
  mkdirSync(join(data, 'opencode'))
  vi.stubEnv('XDG_DATA_HOME', data)
  expect(isGoneFrom({}, { boot: 'before' })).toBe(true)
  expect(isGoneFrom({}, { boot: 'before', machine: 'another' })).toBe(false)
  expect(isGoneFrom({ machine: '' }, { boot: 'before', machine: '' })).toBe(false)
  // Without proof that the data is on a local disk, another machine may have written it.
  vi.stubEnv('XDG_DATA_HOME', '/proc/nowhere')
  expect(isGoneFrom({}, { boot: 'before' })).toBe(false)
  vi.unstubAllEnvs()
  rmSync(data, { recursive: true })
})

test('R16: without system identifiers the host name decides, as for old records', () => {
  const nothing = { machine: '', boot: '', namespace: '' }
  expect(isGoneFrom(nothing, nothing)).toBe(true)
  expect(isGoneFrom(nothing, nothing, 'another')).toBe(false)
  const { system: _, ...old } = dead
  expect(isGone(old)).toBe(true)
  expect(isGone({ ...old, host: 'another' })).toBe(false)
})

test('another process is not gone until it ends, and a later process with its pid is not the owner', async () => {
  const source = new URL('../../../src/task/owner.ts', import.meta.url).href
  const code = `import(${JSON.stringify(source)}).then((m) => {
    console.log(JSON.stringify(m.systemOwners(${JSON.stringify(NAME)}, '/project').self))
    process.stdin.resume()
  })`
  const child = spawn(process.execPath, ['--import', 'tsx', '-e', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const other = JSON.parse(line.toString()) as typeof self
  expect(other.pid).toBe(child.pid)
  expect(isGone(other)).toBe(false)
  expect(isGone({ ...other, process: `${other.process}1` })).toBe(true)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(isGone(other)).toBe(true)
})

test('a zombie process counts as gone, although its parent has not reaped it', async () => {
  // `exec` replaces the shell with a program that never reaps its children.
  const parent = spawn('sh', ['-c', 'sleep 100 & echo $!; exec sleep 100'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(line.toString())
  expect(processKey(pid)).toBeDefined()
  await expect.poll(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8')).toBe('sleep\n')
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => processKey(pid)).toBeUndefined()
  expect(processStat(pid)).toMatchObject({ isRunning: false })
  parent.kill('SIGKILL')
  await once(parent, 'exit')
})
