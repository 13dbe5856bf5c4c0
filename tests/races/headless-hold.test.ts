import { expect, test } from 'vitest'
import type { BackgroundManager } from '../../src/manager.ts'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'

/** Starts to hold the parent; `isOver` becomes true when the hold ends. */
function wait({ manager, parentID: sessionID }: { manager: BackgroundManager; parentID: string }): {
  isOver: boolean
} {
  const waiting = { isOver: false }
  const hooks = manager.hooks()
  void hooks['experimental.text.complete']({ sessionID }).then(() => {
    waiting.isOver = true
    return undefined
  })
  return waiting
}

test('a session without unfinished tasks is not held', async () => {
  const stage = createFakeStage()
  const waiting = wait(stage)
  await stage.clock.advance(0)
  expect(waiting.isOver).toBe(true)
})

test('a session is held until it contains a notice, and again after its answer while other tasks run', async () => {
  const stage = createFakeStage()
  const { clock, launch, answer, notices, host, parentID } = stage
  await launch('quick')
  await launch('slow')
  await clock.advance(100)
  const first = wait(stage)
  await clock.advance(5000)
  expect(first.isOver).toBe(false)
  // The parent's model reads the notice, and does not answer it yet.
  host.script = ({ sessionID }) => (sessionID === parentID ? new Promise(() => {}) : { text: 'slow result' })
  answer('quick')
  await clock.advance(180)
  expect(first.isOver).toBe(false)
  await clock.advance(40)
  expect(first.isOver).toBe(true)
  expect(notices()).toHaveLength(1)
  await clock.advance(100)
  const second = wait(stage)
  await clock.advance(1000)
  expect(second.isOver).toBe(false)
  answer('slow')
  await clock.advance(1000)
  expect(second.isOver).toBe(true)
})

test('the holds of a session together last at most headless.waitMs', async () => {
  const stage = createFakeStage({ headless: { waitMs: 3000 } })
  const { clock, launch } = stage
  await launch('endless')
  await clock.advance(100)
  const first = wait(stage)
  await clock.advance(2900)
  expect(first.isOver).toBe(false)
  await clock.advance(200)
  expect(first.isOver).toBe(true)
  const second = wait(stage)
  await clock.advance(0)
  expect(second.isOver).toBe(true)
})

test('the hold ends when the parent itself cancels its last task', async () => {
  const stage = createFakeStage()
  const { clock, manager, launch } = stage
  const { id } = await launch('stopped')
  await clock.advance(100)
  const waiting = wait(stage)
  const cancelled = manager.cancel(id)
  await clock.advance(5000)
  await cancelled
  expect(waiting.isOver).toBe(true)
})

/** Creates a session as `opencode run --attach` does in a server, with a running task. */
async function ofRun(options?: object): Promise<{ stage: FakeStage; parentID: string; write: Write }> {
  const stage = createFakeStage(options, { isRun: false })
  const { host, manager, clock } = stage
  const denied = ['question', 'plan_enter', 'plan_exit']
  const permission = denied.map((name) => ({ permission: name, pattern: '*', action: 'deny' as const }))
  const { id: parentID } = host.createRootSession({ permission })
  const write: Write = (client) => {
    const message = { id: `msg_${clock.now()}`, time: { created: clock.now() } }
    const hooks = manager.hooks()
    return hooks['chat.message']({ sessionID: parentID, ...client }, { message, parts: [{ type: 'text' }] })
  }
  await write({})
  await manager.launch({ parentID, agent: 'general', prompt: 'errand', description: 'errand' })
  await clock.advance(100)
  return { stage, parentID, write }
}

type Write = (client: object) => Promise<void>

test('R17: a server holds a session of `opencode run --attach` until it contains a notice', async () => {
  const { stage, parentID } = await ofRun()
  const waiting = wait({ manager: stage.manager, parentID })
  await stage.clock.advance(60_000)
  expect(waiting.isOver).toBe(false)
  stage.answer('errand')
  await stage.clock.advance(1000)
  expect(waiting.isOver).toBe(true)
})

test.for([{ agent: 'build', model: {} }, { messageID: 'msg_1' }])(
  'R17: a server holds no session in which the user writes with another client: %j',
  async (client) => {
    const { stage, parentID, write } = await ofRun()
    await write(client)
    const waiting = wait({ manager: stage.manager, parentID })
    await stage.clock.advance(0)
    expect(waiting.isOver).toBe(true)
  },
)

test('R17: a server holds no session that another client has created', async () => {
  const stage = createFakeStage({}, { isRun: false })
  await stage.launch('errand')
  await stage.clock.advance(100)
  const waiting = wait(stage)
  await stage.clock.advance(0)
  expect(waiting.isOver).toBe(true)
})

test('R17: a message in a held session ends its hold, and prevents the next one', async () => {
  const { stage, parentID, write } = await ofRun()
  const first = wait({ manager: stage.manager, parentID })
  await stage.clock.advance(1000)
  expect(first.isOver).toBe(false)
  await write({})
  const second = wait({ manager: stage.manager, parentID })
  await stage.clock.advance(0)
  expect([first.isOver, second.isOver]).toEqual([true, true])
})

test('R17: ESC, and the end of the instance, end the hold of a session', async () => {
  const { stage, parentID } = await ofRun()
  const first = wait({ manager: stage.manager, parentID })
  await stage.clock.advance(1000)
  const error = { name: 'MessageAbortedError' as const, data: { message: 'aborted' } }
  void stage.manager.hooks().event({
    event: { id: 'evt_1', type: 'session.error', properties: { sessionID: parentID, error } },
  })
  await stage.clock.advance(0)
  expect(first.isOver).toBe(true)
  const second = wait({ manager: stage.manager, parentID })
  await stage.clock.advance(1000)
  expect(second.isOver).toBe(false)
  await stage.manager.dispose()
  await stage.clock.advance(0)
  expect(second.isOver).toBe(true)
})

test('R17: a session is held anew for each message of `opencode run --attach`', async () => {
  const { stage, parentID, write } = await ofRun({ headless: { waitMs: 3000 } })
  const first = wait({ manager: stage.manager, parentID })
  await stage.clock.advance(3100)
  expect(first.isOver).toBe(true)
  await write({})
  const second = wait({ manager: stage.manager, parentID })
  await stage.clock.advance(2900)
  expect(second.isOver).toBe(false)
  await stage.clock.advance(200)
  expect(second.isOver).toBe(true)
})
