import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { processKey, processStat, systemOwners } from '../../../src/task/owner.ts'

const NAME = 'opencode-background'
const owners = systemOwners(NAME, '/project')
const { self } = owners
const isGone = (owner: typeof self): boolean => owners.isGone(owner)

test('an earlier instance of this process is gone, since a project has one at a time', () => {
  expect(isGone(self)).toBe(true)
})

test('managers that were given no name leave the tasks of one another in this process alone', () => {
  const unnamed = systemOwners(undefined, '/project')
  expect(unnamed.isGone(systemOwners(undefined, '/project').self)).toBe(false)
  expect(unnamed.isGone({ ...unnamed.self, pid: 2 ** 22 + 1, process: 'long ago' })).toBe(true)
})

test('where the system says no more of a process than that there is one, it is not gone', () => {
  expect(isGone({ ...self, pid: process.ppid, process: '' })).toBe(false)
})

test('a manager of another name or of another project is not ours to judge', () => {
  const dead = { ...self, pid: 2 ** 22 + 1, process: 'long ago' }
  expect(isGone(dead)).toBe(true)
  expect(isGone({ ...dead, name: 'library' })).toBe(false)
  expect(isGone({ ...dead, directory: '/elsewhere' })).toBe(false)
})

const SYSTEM = { machine: 'm', boot: 'b', namespace: 'pid:[1]' }
const dead = { ...self, pid: 2 ** 22 + 1, process: 'long ago' }

/** Whether a process that left this behind is gone, seen from another. */
const isGoneFrom = (here: Partial<typeof SYSTEM>, there: Partial<typeof SYSTEM>, host = self.host): boolean =>
  systemOwners(NAME, '/project', () => ({ ...SYSTEM, ...here })).isGone({
    ...dead,
    host,
    system: { ...SYSTEM, ...there },
  })

test('R11: a host name that has changed says nothing of who is gone', () => {
  expect(isGoneFrom({}, {}, 'the name before')).toBe(true)
})

test('R11: of two containers of one image, neither judges the other', () => {
  expect(isGoneFrom({}, { namespace: 'pid:[2]' })).toBe(false)
})

test('R11: what was left before a reboot of this machine is gone, and what another machine runs is not', () => {
  const data = mkdtempSync(join(tmpdir(), 'data-'))
  mkdirSync(join(data, 'opencode'))
  vi.stubEnv('XDG_DATA_HOME', data)
  expect(isGoneFrom({}, { boot: 'before' })).toBe(true)
  expect(isGoneFrom({}, { boot: 'before', machine: 'another' })).toBe(false)
  expect(isGoneFrom({ machine: '' }, { boot: 'before', machine: '' })).toBe(false)
  // Where nothing tells that only this machine can have written it.
  vi.stubEnv('XDG_DATA_HOME', '/proc/nowhere')
  expect(isGoneFrom({}, { boot: 'before' })).toBe(false)
  vi.unstubAllEnvs()
  rmSync(data, { recursive: true })
})

test('R16: where the system tells nothing of itself, the host name decides, as in records of before', () => {
  const nothing = { machine: '', boot: '', namespace: '' }
  expect(isGoneFrom(nothing, nothing)).toBe(true)
  expect(isGoneFrom(nothing, nothing, 'another')).toBe(false)
  const { system: _, ...old } = dead
  expect(isGone(old)).toBe(true)
  expect(isGone({ ...old, host: 'another' })).toBe(false)
})

test('another process is there until it ends, and one that was given its pid later is not it', async () => {
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

test('a process that has ended is gone, though its parent has not noticed', async () => {
  // The shell becomes a program that never asks for its children.
  const parent = spawn('sh', ['-c', 'sleep 0.5 & echo $!; exec sleep 100'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(line.toString())
  expect(processKey(pid)).toBeDefined()
  await expect.poll(() => processKey(pid)).toBeUndefined()
  expect(processStat(pid)).toMatchObject({ isRunning: false })
  parent.kill('SIGKILL')
  await once(parent, 'exit')
})
