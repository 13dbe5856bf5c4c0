/** Attaches to commands that another process has started. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { processKey } from '../../src/task/owner.ts'
import { attach, type CommandProcess } from '../../src/work/command/process.ts'
import { GRACE_MS, groupOf, run, temporaryDirectory, written } from './commands.ts'

const source = new URL('../../src/work/command/process-start.ts', import.meta.url).href
const clock = new URL('../../src/clock.ts', import.meta.url).href

type Departure = 'killed with SIGKILL' | 'done'

/** Starts a command from another process, and attaches to it when that process is gone. */
async function orphan(
  command: string,
  departure: Departure = 'killed with SIGKILL',
): Promise<CommandProcess> {
  const directory = join(temporaryDirectory(), 'command')
  const options = { command, shell: '/bin/sh', cwd: '/', env: process.env, directory, killGraceMs: GRACE_MS }
  const code = `Promise.all([import(${JSON.stringify(source)}), import(${JSON.stringify(clock)})]).then(([m, c]) => {
    const { pid, key } = m.start({ clock: c.systemClock, ...${JSON.stringify(options)} })
    console.log(JSON.stringify({ pid, key }))
    if (${departure !== 'done'}) process.stdin.resume()
  })`
  const starter = spawn(process.execPath, ['--import', 'tsx', '-e', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = once(starter, 'exit')
  const [line] = (await once(starter.stdout, 'data')) as [Buffer]
  const identity = JSON.parse(line.toString()) as { pid: number; key: string }
  if (departure !== 'done') starter.kill('SIGKILL')
  await exited
  return attach({ ...identity, directory, clock: systemClock, killGraceMs: GRACE_MS })
}

test('a command outlives a starter that is killed with -9, and another process reads its end', async () => {
  const go = join(temporaryDirectory(), 'go')
  const child = await orphan(`echo first; until [ -e ${go} ]; do sleep 0.05; done; echo last; exit 7`)
  expect(groupOf(child.pid)).not.toEqual([])
  writeFileSync(go, '')
  expect(await child.ended).toEqual({ type: 'exited', code: 7 })
  expect(child.tail('stdout', { bytes: 100 }).text).toBe('first\nlast\n')
})

test('a command does not keep its starter from ending, and runs on', async () => {
  const child = await orphan('sleep 100', 'done')
  expect(groupOf(child.pid)).not.toEqual([])
  await child.kill()
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
})

test('a command whose wrapper our signal hits before it can write an end was killed by that signal', async () => {
  // A process without a wrapper stands for a wrapper that has not set its trap yet.
  const bare = spawn('sleep', ['100'], { detached: true, stdio: 'ignore' })
  const pid = bare.pid ?? 0
  const directory = temporaryDirectory()
  const child = attach({ pid, key: processKey(pid) ?? '', directory, clock: systemClock, killGraceMs: 5000 })
  await child.kill()
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
})

test('a command that ends after its starter is gone has its exit code', async () => {
  const child = await orphan('sleep 0.3; exit 8')
  await expect.poll(() => groupOf(child.pid)).toEqual([])
  const { pid, key } = child
  const { directory, process: other } = run('exit 9')
  await other.ended
  const late = attach({ pid, key, directory, clock: systemClock, killGraceMs: 300 })
  expect(await child.ended).toEqual({ type: 'exited', code: 8 })
  expect(await late.ended).toEqual({ type: 'exited', code: 9 })
})

test('a command whose group is killed with -9 after its starter is gone is lost', async () => {
  const child = await orphan('sleep 100')
  process.kill(-child.pid, 'SIGKILL')
  expect(await child.ended).toEqual({ type: 'lost' })
})

test('a later process with the same pid is not the command, and is not killed', async () => {
  const { process: child, directory, attach: again } = run('sleep 100')
  const other = again({ key: `${child.key}1` })
  expect(await other.ended).toEqual({ type: 'lost' })
  await other.kill()
  other.killNow()
  expect(groupOf(child.pid)).not.toEqual([])
  expect(readFileSync(join(directory, 'process'), 'utf8')).toBe(`${child.pid} ${child.key}\n`)
  // The exit code of the command counts, if it was written.
  const ended = run('exit 3')
  await ended.process.ended
  // Two processes that start within 10 ms have equal keys, but no pid is reused that fast.
  const key = `${ended.process.key}1`
  expect(await ended.attach({ pid: child.pid, key }).ended).toEqual({ type: 'exited', code: 3 })
  expect(groupOf(child.pid)).not.toEqual([])
})

// Seen to fail where the group of each found command counts as the command's.
test('what runs in the group of a command that had ended before it was found is not killed', async () => {
  const { process: child, attach: again } = run('sleep 100 & exit 3')
  await child.ended
  const other = again()
  expect(await other.ended).toEqual({ type: 'exited', code: 3 })
  expect(other.isAlive).toBe(false)
  await other.kill()
  other.killNow()
  expect(groupOf(child.pid)).not.toEqual([])
  await child.kill()
  expect(groupOf(child.pid)).toEqual([])
})

test('a command whose files are gone as well is lost', async () => {
  const { process: child, directory, attach: again } = run('true')
  await child.ended
  rmSync(directory, { recursive: true })
  const other = again()
  expect(await other.ended).toEqual({ type: 'lost' })
  expect(other.tail('stdout', { bytes: 10 }).text).toBe('')
})

test('an attached command can be watched for output from its beginning', async () => {
  const { process: child, attach: again } = run('echo early; sleep 0.3; echo later; sleep 100')
  await written(child, 'early')
  const other = again()
  await Promise.all([written(other, 'early'), written(other, 'later')])
  await other.kill()
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
})

test('a command has not ended, nor left a process, until the wrapper that wrote its end is gone', async () => {
  const { process: child, directory, attach: again } = run('echo up; sleep 100')
  await written(child, 'up')
  writeFileSync(join(directory, 'exit'), 'status 0\n')
  const other = again()
  const leavesSomething = other.ended.then(() => other.isAlive)
  // Enough time for several polls.
  await new Promise<void>((resolve) => systemClock.after(200, resolve))
  child.killNow()
  expect(await leavesSomething).toBe(false)
})
