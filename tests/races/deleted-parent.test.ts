import { expect, test } from 'vitest'
import { buildRooms } from '../../src/rooms.ts'
import { parseOptions } from '../../src/config.ts'
import { createFakeStage, NO_MACHINE } from '../harness/fake-stage.ts'
import { FakeHost } from '../harness/fake-host.ts'
import { ManualClock } from '../harness/manual-clock.ts'

test('a deleted parent leaves no task behind, neither an ended nor a running one', async () => {
  const { clock, host, manager, launch, answer, parentID } = createFakeStage({ notify: { wake: 'never' } })
  const ended = await launch('ended')
  const atWork = await launch('at work')
  await clock.advance(1000)
  answer('ended')
  await clock.advance(1000)
  expect(manager.get(ended.id)).toMatchObject({ status: 'completed' })
  host.deleteSession(parentID)
  await clock.advance(1000)
  expect([manager.get(ended.id), manager.get(atWork.id)]).toEqual([undefined, undefined])
  expect(manager.list(parentID)).toEqual([])
  expect(manager.findBySession(atWork.sessionID)).toBeUndefined()
})

test.each([5, 30, 45, 50, 55, 60, 65, 90])(
  'a launch whose parent is deleted %i ms after it began leaves no task behind',
  async (ms) => {
    const { clock, host, manager, launch, parentID } = createFakeStage()
    host.latencyMs = () => 20
    const launched = launch('late').catch(() => undefined)
    await clock.advance(ms)
    host.deleteSession(parentID)
    await clock.advance(5000)
    const task = await launched
    expect([manager.list(parentID), task && manager.get(task.id)]).toEqual([[], undefined])
  },
)

test('the plugin forgets a deleted parent, and a session that OpenCode does not know', async () => {
  const clock = new ManualClock()
  const host = new FakeHost(clock, () => ({ text: '' }))
  const self = { name: 'test', directory: '/project', host: 'test', pid: 1, process: '1' }
  const rooms = buildRooms(
    {
      opencode: host.opencode,
      clock,
      log: { debug: () => {}, warn: () => {} },
      owners: { self, isGone: () => false },
      isRun: true,
      machine: NO_MACHINE,
    },
    parseOptions({}).options,
  )
  const { id } = host.createRootSession()
  await rooms.launcher.admitted('agent', id, () => rooms.parents.of(id).gate.session())
  expect(rooms.parents.find(id)).toBeDefined()
  rooms.parents.find(id)?.gate.observeDeleted()
  await clock.advance(0)
  expect(rooms.parents.find(id)).toBeUndefined()
  await expect(rooms.parents.of('ses_unknown').gate.session()).rejects.toThrow('ses_unknown')
  expect(rooms.parents.find('ses_unknown')).toBeUndefined()
})
