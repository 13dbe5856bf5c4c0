/** A killed command leaves nothing behind. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { groupOf, run, temporaryDirectory, written } from './commands.ts'

test('kill ends a command with all that it has started', async () => {
  const { process: child } = run('sh -c "sleep 100 & sleep 100 & echo up; wait"')
  await written(child, 'up')
  expect(groupOf(child.pid).length).toBeGreaterThanOrEqual(4)
  await child.kill()
  expect(groupOf(child.pid)).toEqual([])
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
})

test.each(['timeout 900 sleep 100', 'set -m; sleep 100 & wait'])(
  'kill also ends child processes in their own process group (%s)',
  async (line) => {
    const { process: child } = run(`echo up; ${line}`, { shell: '/bin/bash' })
    await written(child, 'up')
    await expect.poll(() => groupOf(child.pid).length).toBeGreaterThanOrEqual(3)
    await child.kill()
    expect(groupOf(child.pid)).toEqual([])
  },
)

test('killNow also ends child processes in their own process group', async () => {
  const { process: child } = run('echo up; timeout 900 sleep 600', { shell: '/bin/bash' })
  await written(child, 'up')
  await expect.poll(() => groupOf(child.pid).length).toBeGreaterThanOrEqual(3)
  child.killNow()
  await expect.poll(() => groupOf(child.pid)).toEqual([])
})

test('a command may clean up on SIGTERM, and its own exit code counts', async () => {
  const { process: child } = run('trap "echo cleaned; exit 5" TERM; echo up; while :; do sleep 0.05; done')
  await written(child, 'up')
  await child.kill()
  expect(await child.ended).toEqual({ type: 'exited', code: 5 })
  expect(child.tail('stdout', { bytes: 100 }).text).toBe('up\ncleaned\n')
})

test('a command that ignores SIGTERM gets SIGKILL after the grace time', async () => {
  const { process: child } = run('trap "" TERM; echo up; sleep 100', { killGraceMs: 300 })
  await written(child, 'up')
  const from = performance.now()
  await Promise.all([child.kill(), child.kill()])
  expect(performance.now() - from).toBeGreaterThanOrEqual(300)
  expect(groupOf(child.pid)).toEqual([])
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGKILL' })
})

test('kill also awaits a grandchild that ignores SIGTERM', async () => {
  const { process: child } = run('(trap "" TERM; echo up; sleep 100) & sleep 100', { killGraceMs: 3000 })
  await written(child, 'up')
  await child.kill()
  expect(groupOf(child.pid)).toEqual([])
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
})

test('kill ends an attached command like a started one', async () => {
  const { process: child, attach } = run('trap "" TERM; echo up; sleep 100')
  await written(child, 'up')
  const attached = attach({ killGraceMs: 300 })
  await attached.kill()
  expect(groupOf(child.pid)).toEqual([])
  expect(await attached.ended).toEqual({ type: 'killed', signal: 'SIGKILL' })
})

test('killNow ends the whole group without waiting', async () => {
  const { process: child } = run('sleep 600 & trap "" TERM; echo up; sleep 600')
  await written(child, 'up')
  child.killNow()
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGKILL' })
  await expect.poll(() => groupOf(child.pid)).toEqual([])
})

test('a command ends with its shell; its leftover processes run on until kill', async () => {
  const { process: child } = run('(sleep 0.5; echo later; sleep 100) & echo started')
  expect(await child.ended).toEqual({ type: 'exited', code: 0 })
  expect(groupOf(child.pid)).not.toEqual([])
  expect(child.isAlive).toBe(true)
  await expect.poll(() => child.tail('stdout', { bytes: 100 }).text).toBe('started\nlater\n')
  await child.kill()
  expect(groupOf(child.pid)).toEqual([])
  expect(child.isAlive).toBe(false)
  expect(await child.ended).toEqual({ type: 'exited', code: 0 })
})

test('an ended command without leftover processes is not alive, because its pid may be reused', async () => {
  const cwd = temporaryDirectory()
  const { process: child } = run('until [ -e go ]; do sleep 0.05; done & echo started', { cwd })
  await child.ended
  expect(child.isAlive).toBe(true)
  writeFileSync(join(cwd, 'go'), '')
  await child.gone
  expect(child.isAlive).toBe(false)
})

test('kill of an ended command kills nothing, and resolves at once', async () => {
  const { process: child } = run('exit 6')
  await child.ended
  await child.kill()
  child.killNow()
  expect(await child.ended).toEqual({ type: 'exited', code: 6 })
})
