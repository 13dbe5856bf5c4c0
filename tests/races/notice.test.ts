import { expect, test } from 'vitest'
import { HostError, type Event } from '../../src/host/opencode.ts'
import { heldReply } from '../harness/replies.ts'
import { pause } from '../harness/fake-run.ts'
import { createFakeStage } from '../harness/fake-stage.ts'

test('one message in one turn reports two tasks that end together', async () => {
  const { clock, launch, answer, notices, noticeTurns } = createFakeStage()
  await launch('one')
  await launch('two')
  await clock.advance(100)
  answer('one')
  answer('two')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(2)
  expect(noticeTurns()).toHaveLength(1)
})

test('a notice is sent shortly after the end of its task, without a wait for running siblings', async () => {
  const { clock, launch, answer, notices } = createFakeStage()
  await launch('one')
  await launch('two')
  await clock.advance(100)
  answer('one')
  await clock.advance(180)
  expect(notices()).toHaveLength(0)
  await clock.advance(150)
  expect(notices()).toHaveLength(1)
})

test('the last notice reports the usage of all tasks over all their runs', async () => {
  const { clock, manager, launch, answer, noticeTurns, parentID } = createFakeStage()
  const ended = async (...names: string[]): Promise<string | undefined> => {
    await clock.advance(100)
    for (const name of names) answer(name)
    await clock.advance(10_000)
    return noticeTurns().at(-1)?.messages.at(-1)?.content
  }
  const { id } = await launch('one')
  expect(await ended('one')).toContain('No task of yours is running.')
  const { tokens } = manager.used(parentID)
  expect(tokens).toBeGreaterThan(0)
  await launch('two')
  await manager.continue(id, 'three')
  expect(await ended('two', 'three')).toContain(`All ended: ${3 * tokens} tokens, $0.`)
})

test('a message of many notices is read as a whole, even if the next step begins while it is stored', async () => {
  // OpenCode stores 40 parts without a pause.
  const names = Array.from({ length: 45 }, (_, index) => `task ${index}`)
  const readAt = async (afterMs: number): Promise<readonly number[]> => {
    const { clock, host, parentID, launch, answer } = createFakeStage({
      concurrency: { total: 45, providers: {} },
    })
    for (const name of names) await launch(name)
    await clock.advance(1000)
    const { reply, release } = heldReply()
    const inner = host.script
    host.script = (request) => (request.messages.at(-1)?.content === 'think' ? reply : inner(request))
    host.userPrompt(parentID, 'think')
    await clock.advance(100)
    for (const name of names) answer(name)
    await clock.advance(afterMs)
    release({ text: 'thought through' })
    await clock.advance(10_000)
    return host.modelRequests.flatMap(({ sessionID, messages }) => {
      const told = messages.at(-1)?.content.match(/<background_task |Automatic notice/g)
      return sessionID === parentID && told ? [told.length] : []
    })
  }
  for (let afterMs = 0; afterMs < 30; afterMs += 1) expect(await readAt(afterMs)).toEqual([46])
})

test('one message gathers a stream of ends, for at most ten debounce times', async () => {
  const { clock, launch, answer, notices, noticeTurns } = createFakeStage({
    concurrency: { total: 30, providers: {} },
  })
  const names = Array.from({ length: 30 }, (_, index) => `task ${index}`)
  for (const name of names) await launch(name)
  await clock.advance(100)
  const after = async (ends: readonly string[]): Promise<readonly number[]> => {
    for (const name of ends) {
      answer(name)
      await clock.advance(150)
    }
    return [notices().length, noticeTurns().length]
  }
  expect(await after(names.slice(0, 12))).toEqual([0, 0])
  expect(await after(names.slice(12, 16))).toEqual([14, 1])
})

test('a failed delivery is repeated until it arrives, and arrives once', async () => {
  const { clock, host, launch, answer, notices, noticeTurns } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  host.failNext('prompt')
  host.hangNext('prompt')
  host.loseNextAnswer('prompt')
  answer('one')
  await clock.advance(120_000)
  expect(notices()).toHaveLength(1)
  expect(noticeTurns()).toHaveLength(1)
})

test('an accepted but lost notice is sent again', async () => {
  const { clock, host, launch, answer, notices, noticeTurns } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  host.swallowNextPrompt()
  answer('one')
  await clock.advance(1000)
  expect(notices()).toHaveLength(0)
  await clock.advance(60_000)
  expect(notices()).toHaveLength(1)
  expect(noticeTurns()).toHaveLength(1)
})

test('a notice queued behind a failing turn gets no answer, and is sent again', async () => {
  const { clock, host, launch, answer, parentID, notices, noticeTurns } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  let fail = (): void => {}
  const failing = new Promise<{ status: number; text: string }>((resolve) => {
    fail = () => resolve({ status: 400, text: 'bad' })
  })
  host.script = ({ messages }) => (messages.at(-1)?.content === 'user' ? failing : { text: 'result of one' })
  host.userPrompt(parentID, 'user')
  await clock.advance(100)
  answer('one')
  await clock.advance(100)
  expect(notices()).toHaveLength(1)
  fail()
  await clock.advance(60_000)
  expect(noticeTurns()).toHaveLength(1)
  expect(notices()).toHaveLength(1)
})

test('a notice whose own turn fails is not sent again, because the user sees the failure', async () => {
  const { clock, host, launch, answer, noticeTurns } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  host.script = () => ({ status: 400, text: 'bad key' })
  answer('one')
  await clock.advance(120_000)
  expect(noticeTurns()).toHaveLength(1)
})

test('a notice in a turn that the user interrupts stays in the history, and wakes no session', async () => {
  const { clock, host, launch, answer, parentID, notices, noticeTurns } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  host.script = ({ messages }) =>
    messages.at(-1)?.content === 'user' ? new Promise(() => {}) : { text: 'result of one' }
  host.userPrompt(parentID, 'user')
  await clock.advance(100)
  answer('one')
  await clock.advance(100)
  const aborted = host.userAbort(parentID)
  await clock.advance(120_000)
  await aborted
  expect(notices()).toHaveLength(1)
  expect(noticeTurns()).toHaveLength(0)
})

test('a notice to a parent that is gone is dropped without a warning', async () => {
  const { clock, host, launch, answer, parentID, complaints } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  host.failNext('prompt', new HostError('notFound', 'gone'))
  answer('one')
  await clock.advance(60_000)
  host.deleteSession(parentID)
  await clock.advance(60_000)
  expect(complaints).toEqual([])
})

test('a tool call that waits for a task reads its end, and no notice follows', async () => {
  const { clock, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('read')
  const report = read(id, { timeoutMs: 10_000 })
  await clock.advance(100)
  answer('read')
  await clock.advance(1000)
  expect(await report).toMatchObject({
    task: { status: 'completed' },
    transcript: { text: 'result of read' },
  })
  expect(notices()).toHaveLength(0)
})

test('a notice follows when the tool call that waits for a task has timed out', async () => {
  const { clock, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('left')
  const report = read(id, { timeoutMs: 50 })
  await clock.advance(100)
  expect((await report).task.status).toBe('running')
  answer('left')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
})

test("a user's message ends the wait of its session for a task, and a notice reports the end", async () => {
  const { clock, host, launch, answer, parentID, notices, read } = createFakeStage()
  const { id } = await launch('long')
  await clock.advance(100)
  const other = host.createRootSession()
  const report = read(id, { timeoutMs: 600_000 })
  let isBack = false
  void report.then(() => (isBack = true))
  host.userPrompt(other.id, 'in another session')
  await clock.advance(1000)
  expect(isBack).toBe(false)
  host.userPrompt(parentID, 'how far is it')
  await clock.advance(1000)
  expect(isBack).toBe(true)
  expect((await report).task.status).toBe('running')
  answer('long')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
})

test('a gathering notice is dropped when its end is read', async () => {
  const { clock, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('read')
  await launch('sibling')
  // A sibling still runs, so the notice waits for the debounce time.
  const report = read(id, {}, { start: pause(clock, 150) })
  await clock.advance(100)
  answer('read')
  await clock.advance(1000)
  expect((await report).task.status).toBe('completed')
  expect(notices()).toHaveLength(0)
})

test('a notice reports an end whose read has failed', async () => {
  const { clock, host, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('one')
  await clock.advance(100)
  const report = read(id, { timeoutMs: 10_000 })
  const refused = report.catch((error: unknown) => error)
  answer('one')
  host.opencode.newestMessages = () => Promise.reject(new HostError('refused', 'busy'))
  await clock.advance(1000)
  expect(await refused).toMatchObject({ reason: 'refused' })
  expect(notices()).toHaveLength(1)
})

test('a notice reports an end whose reading tool call was interrupted', async () => {
  const { clock, host, launch, answer, notices, parentID, read } = createFakeStage()
  const { id } = await launch('one')
  await clock.advance(100)
  const report = read(id, { timeoutMs: 10_000 })
  await clock.advance(50)
  host.latencyMs = () => 20
  answer('one')
  await clock.advance(15)
  host.latencyMs = () => 0
  void host.userAbort(parentID)
  await clock.advance(10_000)
  expect((await report).task.status).toBe('completed')
  expect(notices()).toEqual([])
  host.userPrompt(parentID, 'well')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a notice is held until the last of two waiting calls has returned', async () => {
  const { clock, host, manager, launch, answer, notices, parentID, read } = createFakeStage()
  const { id } = await launch('one')
  await clock.advance(100)
  const long = read(id, { timeoutMs: 10_000 })
  await clock.advance(20)
  const [part] =
    host
      .messagesOf(parentID)
      .at(-1)
      ?.parts.filter(({ type }) => type === 'tool') ?? []
  const callID = part?.type === 'tool' ? part.callID : ''
  const short = manager.output(id, { timeoutMs: 50, reader: { sessionID: parentID, callID } })
  await clock.advance(100)
  await short
  answer('one')
  await clock.advance(1000)
  expect((await long).task.status).toBe('completed')
  expect(notices()).toEqual([])
})

test('a notice that could not be sent is dropped when its end is read', async () => {
  const { clock, host, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('one')
  await clock.advance(100)
  for (let attempt = 0; attempt < 3; attempt += 1) host.failNext('prompt')
  answer('one')
  await clock.advance(2000)
  const report = read(id)
  await clock.advance(100)
  expect((await report).task.status).toBe('completed')
  await clock.advance(120_000)
  expect(notices()).toEqual([])
})

test.each(['agent', 'model'] as const)(
  'a notice to a parent whose %s is gone is sent five times, and then waits for the next message',
  async (what) => {
    const { clock, host, launch, answer, parentID, notices } = createFakeStage()
    await launch('one')
    host.userPrompt(parentID, 'hello', { model: { providerID: 'mock', modelID: 'm2' } })
    await clock.advance(100)
    // Each prompt causes an error event and nothing else (contract 1.12).
    if (what === 'agent') host.agents = host.agents.filter(({ name }) => name !== 'build')
    else host.models.delete('mock/m2')
    answer('one')
    await clock.advance(3_600_000)
    const sent = host.calls.filter(({ method, sessionID }) => method === 'prompt' && sessionID === parentID)
    expect(sent).toHaveLength(5)
    host.userPrompt(parentID, 'go on', { agent: 'plan', model: { providerID: 'mock', modelID: 'm1' } })
    await clock.advance(10_000)
    expect(notices()).toHaveLength(1)
    expect(
      host.modelRequests
        .at(-1)
        ?.messages.map(({ content }) => content)
        .join('\n'),
    ).toContain('result of one')
  },
)

test('a disposed instance sends no notice that gathers, has failed or waits for a turn', async () => {
  for (const moment of ['gathering', 'failing', 'sent'] as const) {
    const { clock, host, manager, launch, answer, parentID } = createFakeStage()
    await launch('one')
    if (moment === 'gathering') await launch('sibling')
    await clock.advance(100)
    if (moment === 'failing') host.failNext('prompt')
    if (moment === 'sent') host.swallowNextPrompt()
    answer('one')
    await clock.advance(moment === 'gathering' ? 50 : 500)
    const sent = (): number => host.calls.filter(({ sessionID }) => sessionID === parentID).length
    const before = sent()
    await manager.dispose()
    await clock.advance(120_000)
    expect(sent()).toBe(before)
  }
})

test('a notice that waits for its next attempt is dropped when its parent is deleted', async () => {
  const { clock, host, launch, answer, parentID } = createFakeStage()
  await launch('one')
  await clock.advance(100)
  host.failNext('prompt')
  answer('one')
  await clock.advance(500)
  host.deleteSession(parentID)
  const before = host.calls.length
  await clock.advance(120_000)
  expect(host.calls.slice(before).filter(({ method }) => method === 'prompt')).toEqual([])
})

test('the notices of many ends during one turn of the parent do not flood its next step', async () => {
  const { clock, host, parentID, launch, answer, notices } = createFakeStage()
  const { reply, release } = heldReply()
  const inner = host.script
  host.script = (request) => (request.messages.at(-1)?.content === 'think' ? reply : inner(request))
  host.userPrompt(parentID, 'think')
  await clock.advance(100)
  const names = Array.from({ length: 40 }, (_, index) => `task ${index}.`)
  for (const name of names) {
    await launch(name)
    await clock.advance(100)
    answer(name, { text: `RESULT ${name} ${'x'.repeat(7500)}` })
    await clock.advance(1000)
  }
  const told = notices().join('')
  expect(names.filter((name) => !told.includes(`RESULT ${name}`))).toEqual([])
  expect(told.length).toBeLessThan(16 * 1024 + 40 * 600)
  release({ text: 'thought through' })
  await clock.advance(10_000)
  // After the parent has read them, a notice may be long again.
  const last = await launch('last')
  answer('last', { text: 'y'.repeat(7500) })
  await clock.advance(5000)
  expect(notices().find((text) => text.includes(last.id))?.length).toBeGreaterThan(4096)
})

test('the timeline has a notice as sent before confirmed, even if its prompt is answered late', async () => {
  const { clock, host, launch, answer, steps } = createFakeStage()
  const { id } = await launch('work')
  await clock.advance(100)
  host.loseNextAnswer('prompt')
  answer('work')
  await clock.advance(1000)
  expect(steps.filter((step) => step.startsWith(`${id}: notice`))).toEqual([
    `${id}: notice owed`,
    `${id}: notice sent`,
    `${id}: notice confirmed: the parent's model has read it`,
  ])
})

test('ends that a slow host spreads are gathered by their spacing, and a single end does not wait longer', async () => {
  const { clock, host, launch, answer, noticeTurns } = createFakeStage()
  const names = ['one', 'two', 'three', 'four', 'five']
  for (const name of [...names, 'goes on']) await launch(name)
  await clock.advance(100)
  answer('one')
  await clock.advance(250)
  expect(noticeTurns()).toHaveLength(1)
  await clock.advance(450)
  for (const name of names.slice(1)) {
    answer(name)
    await clock.advance(700)
  }
  await clock.advance(3000)
  expect(noticeTurns()).toHaveLength(3)
  expect(host.modelRequests.at(-1)?.messages.at(-1)?.content).toContain('Still running')
})

test('a notice waits for a sibling whose final answer is complete, for as long as its session takes to be idle', async () => {
  const { clock, host, launch, answer, notices, noticeTurns } = createFakeStage()
  const slow = await launch('slow')
  await launch('quick')
  await launch('goes on')
  await clock.advance(100)
  const isIdle = (event: Event): boolean =>
    event.type === 'session.status' &&
    event.properties.sessionID === slow.sessionID &&
    event.properties.status.type === 'idle'
  host.eventDelays = (event) => [isIdle(event) ? 1500 : 0]
  answer('slow')
  await clock.advance(50)
  answer('quick')
  await clock.advance(1000)
  expect(notices()).toEqual([])
  await clock.advance(2500)
  expect(noticeTurns()).toHaveLength(1)
  expect(notices()).toHaveLength(2)
})
