import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { optionsSchema } from '../../src/config.ts'
import type { Opencode, Statuses } from '../../src/host/opencode.ts'
import { Panes } from '../../src/panes.ts'
import { Timeline } from '../../src/timeline.ts'
import { TaskStore } from '../../src/task/store.ts'
import { ManualClock } from '../harness/manual-clock.ts'
import { createFakeStage, NO_MACHINE } from '../harness/fake-stage.ts'
import { pendingTask } from '../harness/tasks.ts'

const BUSY = { ses_child: { type: 'busy' } } as const

afterEach(() => vi.unstubAllEnvs())

/** Creates Panes in this OpenCode, and another OpenCode at the address that this one names. */
async function beside(there: Statuses) {
  vi.stubEnv('TMUX', '/nowhere,1,0')
  vi.stubEnv('TMUX_PANE', '%0')
  const asked: string[] = []
  const other = createServer(({ url = '' }, response) => {
    asked.push(url)
    response.end(JSON.stringify(there))
  })
  await new Promise<void>((resolve) => {
    other.listen(0, '127.0.0.1', resolve)
  })
  const clock = new ManualClock()
  const store = new TaskStore()
  const complaints: string[] = []
  const log = { debug: () => {}, warn: (text: string) => void complaints.push(text) }
  const own: { now: Statuses } = { now: {} }
  const opencode = {
    statuses: () => Promise.resolve(own.now),
    warn: () => Promise.resolve(),
  } as Partial<Opencode> as Opencode
  const disposal = new AbortController()
  const timeline = new Timeline({ clock, log, store })
  store.subscribe((task, event) => timeline.observeTask(task, event))
  const runsInSession = (): boolean => true
  const host = { opencode, clock, log, store, timeline, machine: NO_MACHINE }
  const ports = { ...host, runsInSession, disposal: disposal.signal }
  const url = new URL(`http://127.0.0.1:${(other.address() as AddressInfo).port}`)
  const panes = new Panes(ports, { url, directory: '/project' }, optionsSchema.parse({}).tmux)
  expect(panes).toBeDefined()
  const launch = (id: string): void => {
    store.add(pendingTask({ id }))
    store.dispatch(id, { type: 'slotTaken', at: 1 })
    store.dispatch(id, { type: 'prompted', at: 2 })
  }
  return { asked, clock, complaints, disposal, launch, own, close: () => other.close() }
}

test('Panes warns once that this OpenCode does not listen when another one has its address', async () => {
  const { asked, clock, complaints, launch, own, close } = await beside({})
  launch('bg_00000001')
  await clock.advance(2000)
  // Panes cannot distinguish the two until a task is at work.
  expect([asked, complaints]).toEqual([[], []])
  own.now = BUSY
  await clock.advance(500)
  await expect.poll(() => complaints).toHaveLength(1)
  expect(complaints[0]).toContain('no panes, because OpenCode does not listen at')
  launch('bg_00000002')
  await clock.advance(5000)
  expect(complaints).toHaveLength(1)
  expect(asked).toEqual(['/session/status?directory=%2Fproject'])
  close()
})

test('Panes has one pending check for any number of tasks, and none after the instance has ended', async () => {
  const { asked, clock, disposal, launch, close } = await beside({})
  for (const id of ['bg_00000001', 'bg_00000002', 'bg_00000003']) launch(id)
  await clock.advance(2000)
  expect(clock.pending).toBe(1)
  disposal.abort()
  expect(clock.pending).toBe(0)
  expect(asked).toEqual([])
  close()
})

test('a manager without serverUrl reports that panes need it, and sends no request', () => {
  const { host, manager } = createFakeStage({ tmux: { enabled: true } })
  expect(manager.problems).toEqual(['option tmux: there are no panes without serverUrl'])
  expect(host.calls).toEqual([])
})
