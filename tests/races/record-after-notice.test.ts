import { expect, test } from 'vitest'
import { parseOptions } from '../../src/config.ts'
import { observersOf } from '../../src/events.ts'
import { buildRooms } from '../../src/rooms.ts'
import { TaskRecords } from '../../src/task/records.ts'
import { TaskStore } from '../../src/task/store.ts'
import { FakeHost } from '../harness/fake-host.ts'
import { createFakeStage, NO_MACHINE } from '../harness/fake-stage.ts'
import { ManualClock } from '../harness/manual-clock.ts'

const self = { name: 'test', directory: '/project', host: 'test', pid: 1, process: '1' }

test('the pending record of an end does not overwrite a later output match', async () => {
  const clock = new ManualClock()
  const host = new FakeHost(clock, () => ({ text: '' }))
  const store = new TaskStore()
  const records = new TaskRecords(
    {
      opencode: host.opencode,
      log: { debug: () => {}, warn: () => {} },
      store,
      timeline: { newest: () => [] },
    },
    self,
    false,
  )
  const parent = host.createRootSession()
  const task = await records.create(
    {
      id: 'bg_00000001',
      kind: 'command',
      run: 1,
      parentID: parent.id,
      description: 'd',
      createdAt: 1,
      command: 'x &',
      cwd: '/',
      timeoutMs: 0,
      notifyOn: ['ready'],
    },
    [],
  )
  store.add(task)
  let sent = (): void => {}
  const after = new Promise<void>((resolve) => (sent = resolve))
  store.subscribe((now, event) =>
    records.observeTask(now, event, () => (event.type === 'ended' ? after : undefined)),
  )
  store.dispatch(task.id, { type: 'slotTaken', at: 2 })
  store.dispatch(task.id, { type: 'prompted', at: 3 })
  const usage = { toolCalls: 0, tokens: 0, cost: 0 }
  store.dispatch(task.id, { type: 'ended', at: 4, outcome: { status: 'completed', text: '', usage } })
  // Its leftover process says the awaited text while the notice of the end waits in the debounce.
  store.dispatch(task.id, { type: 'outputMatched', match: { text: 'ready', at: 5 } })
  await clock.advance(100)
  expect(host.session(task.sessionID).metadata).toMatchObject({ background: { matched: { text: 'ready' } } })
  sent()
  await clock.advance(100)
  await records.flush()
  expect(host.session(task.sessionID).metadata).toMatchObject({ background: { matched: { text: 'ready' } } })
})

test('a parent that is deleted during its recovery leaves no task behind', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answerAll, parentID } = stage
  await launch('ended')
  await clock.advance(100)
  answerAll()
  await clock.advance(5000)
  stage.crash()
  host.latencyMs = () => 20
  const recovering = stage.manager.recover(parentID)
  // children: 0 to 40 ms; the messages of the parent reach the caller at 80 ms.
  await clock.advance(70)
  host.deleteSession(parentID)
  await clock.advance(5000)
  await recovering
  expect(stage.manager.list(parentID)).toEqual([])
})

test.each(['archive', 'undo'])(
  'a disposed manager sends no notice when its parent opens again (%s)',
  async (how) => {
    const { clock, host, manager, launch, answer, notices, parentID } = createFakeStage()
    const userMessage = host.userPrompt(parentID, 'hello')
    await clock.advance(1000)
    await launch('work')
    await clock.advance(100)
    if (how === 'archive') host.userArchive(parentID, true)
    else host.userRevert(parentID, userMessage)
    await clock.advance(100)
    answer('work')
    await clock.advance(5000)
    expect(notices()).toEqual([])
    await manager.dispose()
    if (how === 'archive') host.userArchive(parentID, false)
    else host.userUnrevert(parentID)
    await clock.advance(10_000)
    expect(notices()).toEqual([])
  },
)

test('a fallback of another plugin continues the run although its events are late', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage()
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work', { status: 400, text: 'too purple' })
  const failed = (): boolean =>
    host.messagesOf(sessionID).some(({ info }) => info.role === 'assistant' && info.error)
  while (!failed()) await clock.advance(1)
  await clock.advance(100)
  answer('fallback', { text: 'the result' })
  host.eventDelays = () => [1000]
  host.userPrompt(sessionID, 'fallback')
  await clock.advance(100)
  await clock.advance(5000)
  expect(manager.get(id)).toMatchObject({ status: 'completed' })
  expect(notices().at(-1)).toContain('the result')
})

test('a session that was only created is forgotten', async () => {
  const clock = new ManualClock()
  const host = new FakeHost(clock, () => ({ text: '' }))
  const rooms = buildRooms(
    {
      opencode: host.opencode,
      clock,
      log: { debug: () => {}, warn: () => {} },
      owners: { self, isGone: () => false },
      isRun: false,
      machine: NO_MACHINE,
    },
    parseOptions({}).options,
  )
  const observers = observersOf(rooms) as unknown as Record<string, (event: unknown) => void>
  host.onEvent((event) => observers[event.type]?.(event))
  const ids = Array.from({ length: 100 }, () => host.createRootSession().id)
  await clock.advance(3_600_000)
  for (const id of ids) await rooms.recovery.recover(id).then(() => undefined)
  await clock.advance(0)
  const other = host.createRootSession().id
  await clock.advance(3_600_000)
  expect(rooms.parents.find(other)).toBeUndefined()
})

test('a cancel by the user is recorded at once, although its notice waits for others', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, parentID } = stage
  await launch('other')
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  void host.userAbort(sessionID)
  // The session has to stay idle for 2 s; a debounce of 200 ms begins then, since the other task is at work.
  while (stage.manager.get(id)?.status !== 'cancelled') await clock.advance(10)
  await clock.advance(100)
  stage.crash()
  await stage.manager.recover(parentID)
  await clock.advance(1000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'cancelled', by: 'user' })
})

test('a timed out run is recorded at once, although its notice waits for others', async () => {
  const stage = createFakeStage({ timeoutMs: 5000 })
  const { clock, launch, parentID } = stage
  const { id } = await launch('work')
  await clock.advance(2000)
  await launch('other')
  while (stage.manager.get(id)?.status !== 'failed') await clock.advance(10)
  await clock.advance(100)
  stage.crash()
  await stage.manager.recover(parentID)
  await clock.advance(1000)
  expect(stage.manager.get(id)).toMatchObject({ failure: { reason: 'timeout' } })
})
