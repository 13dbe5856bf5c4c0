import { afterEach, beforeEach, expect, test } from 'vitest'
import { createPlace, startMcp, type Era, type Mcp, type McpPlace } from '../harness/mcp.ts'

const ERAS: readonly Era[] = ['legacy', 'modern']
let place: McpPlace
let mcp: Mcp | undefined

beforeEach(() => {
  place = createPlace()
})
afterEach(async () => {
  await mcp?.close()
  mcp = undefined
  place.remove()
})

test.each(ERAS)('a client of the %s era runs, waits for, lists and kills commands', async (era) => {
  mcp = await startMcp(place, { era })
  const { tools } = await mcp.client.listTools()
  expect(tools.map(({ name }) => name)).toEqual([
    'run_background',
    'check_background',
    'list_background',
    'kill_background',
  ])
  const started = await mcp.call('run_background', {
    command: 'echo out; echo err >&2; exit 3',
    label: 'fails',
  })
  expect(started.text).toContain('🚀 **Background Task Started** (fails)')
  const { task_id } = started.structured.task
  const ended = await mcp.call('check_background', { task_id, wait: true })
  expect(ended.text).toContain('| **Exit Code** | 3 |')
  expect(ended.structured).toMatchObject({
    task: { task_id, status: 'failed', exit_code: 3, cwd: place.root },
    stdout: { text: 'out\n' },
    stderr: { text: 'err\n' },
  })
  const server = await mcp.call('run_background', { command: 'sleep 600', timeout: 0 })
  const killed = await mcp.call('kill_background', { task_id: server.structured.task.task_id })
  expect(killed.text).toContain('has been killed')
  const listed = await mcp.call('list_background')
  expect(listed.structured.tasks.map(({ status }) => status)).toEqual(['failed', 'cancelled'])
  expect(listed.text).toContain('(2 total)')
})

test('--debug writes the start, the output and the end of a command to standard error', async () => {
  mcp = await startMcp(place, { args: ['--debug'] })
  const { task_id } = (await mcp.call('run_background', { command: "echo 'Hello'; exit 2" })).structured.task
  await mcp.call('check_background', { task_id, wait: true })
  const line = (what: string): RegExp => new RegExp(`^\\[BG-DEBUG [0-9:.]{12}\\] ${task_id}: ${what}$`, 'm')
  await expect.poll(mcp.stderr).toMatch(line(String.raw`Completed with code 2 in \d+\.\d\ds`))
  expect(mcp.stderr()).toMatch(line(String.raw`Starting: echo 'Hello'; exit 2 \(cwd: .*\)`))
  expect(mcp.stderr()).toMatch(line('stdout: Hello'))
})
