import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { processStat } from '../../src/task/owner.ts'
import { createPlace, startMcp, type Mcp, type McpOptions, type McpPlace } from '../harness/mcp.ts'

let place: McpPlace
const started: Mcp[] = []
const start = async (options?: McpOptions): Promise<Mcp> => {
  const mcp = await startMcp(place, options)
  started.push(mcp)
  return mcp
}

beforeEach(() => {
  place = createPlace()
})
afterEach(async () => {
  for (const mcp of started.splice(0)) await mcp.close()
  place.remove()
})

/** Kills a server without a chance to clean up, and waits until it is gone. */
async function kill9(mcp: Mcp): Promise<void> {
  process.kill(mcp.pid, 'SIGKILL')
  await expect.poll(() => isAlive(mcp.pid)).toBe(false)
}

/** Whether a process is there, and no zombie. */
const isAlive = (pid: number): boolean => processStat(pid)?.isRunning === true

/** Writes its pid to a file, so that the test can look for it, and ends when a file appears. */
const untilFile = (name: string): string =>
  `echo $$ > ${name}.pid; while [ ! -e ${name} ]; do sleep 0.05; done; echo "saw ${name}"; exit 7`

const pidOf = async (name: string): Promise<number> => {
  const path = join(place.root, `${name}.pid`)
  await expect.poll(() => existsSync(path) && execFileSync('cat', [path]).toString()).toMatch(/^\d+\n$/)
  return Number(execFileSync('cat', [path]).toString())
}

test('after kill -9 the next server of the root knows the exit code and the output of a command', async () => {
  const first = await start()
  const { task } = (await first.call('run_background', { command: untilFile('go'), label: 'long' }))
    .structured
  const pid = await pidOf('go')
  await kill9(first)
  expect(isAlive(pid)).toBe(true)
  const second = await start()
  const listed = await second.call('list_background')
  expect(listed.structured.tasks).toMatchObject([{ task_id: task.task_id, status: 'running' }])
  mkdirSync(join(place.root, 'go'))
  const ended = await second.call('check_background', { task_id: task.task_id, wait: true })
  expect(ended.structured).toMatchObject({
    task: { status: 'failed', exit_code: 7 },
    stdout: { text: 'saw go\n' },
  })
})

test('an end between two servers is known to the second one', async () => {
  const first = await start()
  const { task } = (await first.call('run_background', { command: untilFile('go') })).structured
  const pid = await pidOf('go')
  await kill9(first)
  mkdirSync(join(place.root, 'go'))
  await expect.poll(() => isAlive(pid)).toBe(false)
  const second = await start()
  const ended = await second.call('check_background', { task_id: task.task_id })
  expect(ended.structured).toMatchObject({
    task: { status: 'failed', exit_code: 7 },
    stdout: { text: 'saw go\n' },
  })
})

test.each(['the end of its input', 'SIGTERM'])('%s ends a server and what it has started', async (how) => {
  const first = await start()
  const { task } = (await first.call('run_background', { command: untilFile('never') })).structured
  const pid = await pidOf('never')
  if (how === 'SIGTERM') process.kill(first.pid, 'SIGTERM')
  else await first.close()
  await expect.poll(() => isAlive(first.pid) || isAlive(pid)).toBe(false)
  const second = await start()
  const { structured, text } = await second.call('check_background', { task_id: task.task_id })
  expect(structured).toMatchObject({ task: { status: 'failed', reason: 'interrupted' } })
  expect(text).toContain('the process that started it stopped before the command had ended')
})

test('with --keep a command runs on after its server, and the next one ends it', async () => {
  const first = await start({ args: ['--keep'] })
  const { task } = (await first.call('run_background', { command: untilFile('never') })).structured
  const pid = await pidOf('never')
  await first.close()
  await expect.poll(() => isAlive(first.pid)).toBe(false)
  expect(isAlive(pid)).toBe(true)
  const second = await start()
  const killed = await second.call('kill_background', { task_id: task.task_id })
  expect(killed.text).toContain('has been killed')
  expect(isAlive(pid)).toBe(false)
})

test('two servers of one root run their own commands, and each names those of the other', async () => {
  const [first, second] = await Promise.all([start(), start()])
  const [mine, theirs] = await Promise.all(
    [first, second].map((mcp, index) => mcp.call('run_background', { command: untilFile(`go${index}`) })),
  )
  const id = theirs?.structured.task.task_id
  const refused = await first.call('kill_background', { task_id: id })
  expect(refused).toMatchObject({
    isError: true,
    text: expect.stringContaining('is run by another') as string,
  })
  expect((await first.call('list_background')).text).toContain(`\`${id}\``)
  await second.close()
  const { structured } = await first.call('check_background', { task_id: mine?.structured.task.task_id })
  expect(structured.task.status).toBe('running')
  expect((await first.call('check_background', { task_id: id })).structured.task.status).toBe('failed')
})

test('the commands of another root are unknown', async () => {
  mkdirSync(join(place.root, 'inner'))
  const [outer, inner] = await Promise.all([start(), start({ args: ['--root', 'inner'] })])
  const { task } = (await outer.call('run_background', { command: 'true' })).structured
  const answer = await inner.call('check_background', { task_id: task.task_id })
  expect(answer).toMatchObject({ isError: true, text: expect.stringContaining('not found') as string })
  expect((await inner.call('list_background')).structured.tasks).toEqual([])
})

test('commands are read and killed while the OpenCode server of --attach does not answer', async () => {
  const silent = createServer()
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as AddressInfo
  const { call } = await start({ args: ['--attach', `http://127.0.0.1:${port}`] })
  const { task } = (await call('run_background', { command: 'sleep 600' })).structured
  const { structured } = await call('check_background', { task_id: task.task_id })
  expect(structured.task.status).toBe('running')
  expect((await call('kill_background', { task_id: task.task_id })).text).toContain('has been killed')
  silent.close()
})
