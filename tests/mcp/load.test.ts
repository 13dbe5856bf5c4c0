import { readdirSync, readFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createPlace, startMcp, type Mcp, type McpPlace } from '../harness/mcp.ts'

let place: McpPlace
let mcp: Mcp

beforeEach(async () => {
  place = createPlace()
  mcp = await startMcp(place)
})
afterEach(async () => {
  await mcp.close()
  place.remove()
})

const descriptors = (): number => readdirSync(`/proc/${mcp.pid}/fd`).length
/** In bytes. */
const memory = (): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${mcp.pid}/status`, 'utf8'))?.[1]) * 1024

test('100 commands at once run under the limit, all end, and leave no descriptor open', async () => {
  await mcp.call('run_background', { command: 'true' })
  const before = descriptors()
  const started = await Promise.all(
    Array.from({ length: 100 }, (_, index) => mcp.call('run_background', { command: `echo ${index}` })),
  )
  const pending = started.filter(({ structured }) => structured.task.status === 'pending')
  expect(pending.length).toBeGreaterThan(0)
  const ended = await Promise.all(
    started.map(({ structured }) =>
      mcp.call('check_background', { task_id: structured.task.task_id, wait: true }),
    ),
  )
  expect(ended.map(({ structured }) => structured.stdout?.text)).toEqual(
    Array.from({ length: 100 }, (_, index) => `${index}\n`),
  )
  await expect.poll(descriptors).toBeLessThanOrEqual(before)
  const { structured } = await mcp.call('list_background')
  expect(structured).toMatchObject({ older_count: 51 })
  expect(structured.tasks).toHaveLength(50)
})

test('200 MB of output leave the memory of the server flat', async () => {
  const run = async (command: string): Promise<void> => {
    const { task } = (await mcp.call('run_background', { command })).structured
    const { structured } = await mcp.call('check_background', { task_id: task.task_id, wait: true })
    expect(structured.task.status).toBe('completed')
  }
  // The first command loads what all of them use.
  await run('yes | head -c 1000000')
  const before = memory()
  await run('yes | head -c 200000000')
  expect(memory() - before).toBeLessThan(200_000_000 / 4)
})
