/** What is left of a command that was killed: nothing. */
import { expect, test } from 'vitest'
import { groupOf, run, written } from './commands.ts'

test('a killed command takes what it has started along', async () => {
  const { process: child } = run('sh -c "sleep 100 & sleep 100 & echo up; wait"')
  await written(child, 'up')
  expect(groupOf(child.pid).length).toBeGreaterThanOrEqual(4)
  await child.kill()
  expect(groupOf(child.pid)).toEqual([])
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
})

test.each(['timeout 900 sleep 100', 'set -m; sleep 100 & wait'])(
  'a killed command takes along what has a process group of its own (%s)',
  async (line) => {
    const { process: child } = run(`echo up; ${line}`, { shell: '/bin/bash' })
    await written(child, 'up')
    await expect.poll(() => groupOf(child.pid).length).toBeGreaterThanOrEqual(3)
    await child.kill()
    expect(groupOf(child.pid)).toEqual([])
  },
)

test('killNow takes along what has a process group of its own', async () => {
  const { process: child } = run('echo up; timeout 900 sleep 100', { shell: '/bin/bash' })
  await written(child, 'up')
  await expect.poll(() => groupOf(child.pid).length).toBeGreaterThanOrEqual(3)
  child.killNow()
  await expect.poll(() => groupOf(child.pid)).toEqual([])
})

test('a command may clean up when it is killed, and ends as it wants', async () => {
  const { process: child } = run('trap "echo cleaned; exit 5" TERM; echo up; while :; do sleep 0.05; done')
  await written(child, 'up')
  await child.kill()
  expect(await child.ended).toEqual({ type: 'exited', code: 5 })
  expect(child.tail('stdout', { bytes: 100 }).text).toBe('up\ncleaned\n')
})

test('a command that ignores SIGTERM gets SIGKILL when its time is over', async () => {
  const { process: child } = run('trap "" TERM; echo up; sleep 100')
  await written(child, 'up')
  const from = performance.now()
  await Promise.all([child.kill(), child.kill()])
  expect(performance.now() - from).toBeGreaterThanOrEqual(300)
  expect(groupOf(child.pid)).toEqual([])
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGKILL' })
})

test('a grandchild that ignores SIGTERM is awaited, too', async () => {
  const { process: child } = run('(trap "" TERM; echo up; sleep 100) & sleep 100')
  await written(child, 'up')
  await child.kill()
  expect(groupOf(child.pid)).toEqual([])
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
})

test('an attached command is killed like our own', async () => {
  const { process: child, attach } = run('trap "" TERM; echo up; sleep 100')
  await written(child, 'up')
  const attached = attach()
  await attached.kill()
  expect(groupOf(child.pid)).toEqual([])
  expect(await attached.ended).toEqual({ type: 'killed', signal: 'SIGKILL' })
})

test('killNow ends the whole group without waiting', async () => {
  const { process: child } = run('sleep 100 & trap "" TERM; echo up; sleep 100')
  await written(child, 'up')
  child.killNow()
  expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGKILL' })
  await expect.poll(() => groupOf(child.pid)).toEqual([])
})

test('a command ends when its shell does; what it leaves running works on, and goes with kill', async () => {
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

test('once nothing is left of a command that has ended, its number is not its own any more', async () => {
  const { process: child } = run('sleep 0.3 & echo started')
  await child.ended
  expect(child.isAlive).toBe(true)
  await child.gone
  expect(child.isAlive).toBe(false)
})

test('to kill a command that has ended kills nothing and ends at once', async () => {
  const { process: child } = run('exit 6')
  await child.ended
  await child.kill()
  child.killNow()
  expect(await child.ended).toEqual({ type: 'exited', code: 6 })
})
