import { stepText } from '../../src/text/step-text.ts'
import { expect, test } from 'vitest'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'

test('one notice reports the end of a task, at whatever moment the process is killed', async () => {
  // Kills at each millisecond from the launch until well after the answer to the notice.
  for (let moment = 0; moment <= 60; moment += 1) {
    const stage = createFakeStage()
    const { clock, host, parentID, notices } = stage
    host.script = ({ sessionID }) => ({ text: sessionID === parentID ? 'Noted.' : 'the result' })
    await stage.launch('work')
    await clock.advance(moment)
    stage.crash()
    const asked = host.modelRequests.length
    await clock.advance(60_000)
    // The next process starts and wakes nothing by itself.
    expect(host.modelRequests, `killed after ${moment} ms`).toHaveLength(asked)
    host.userPrompt(parentID, 'where were we')
    await clock.advance(10_000)
    expect(notices(), `killed after ${moment} ms`).toHaveLength(1)
    expect(stage.manager.list(parentID)).toHaveLength(1)
    host.userPrompt(parentID, 'thanks')
    await clock.advance(10_000)
    expect(notices(), `killed after ${moment} ms`).toHaveLength(1)
  }
})

test('the timeline of a recovered task has the recovery, and the fate of the notice', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID } = stage
  const { id } = await stage.launch('work')
  await clock.advance(100)
  stage.crash()
  await clock.advance(1000)
  host.userPrompt(parentID, 'where were we')
  await clock.advance(10_000)
  expect(stage.manager.story(id)?.steps.map(stepText)).toEqual([
    'recovered after a restart, failed',
    'notice owed from before OpenCode started',
    "notice sent with the user's message",
    "notice confirmed: the parent's model has read it",
  ])
})

test('the result of an ended task is read from its newest message alone after a restart', async () => {
  const stage = createFakeStage({ notify: { wake: 'never' } })
  const { clock, host, parentID, notices } = stage
  const { sessionID } = await stage.launch('work')
  await clock.advance(100)
  stage.answer('work')
  await clock.advance(1000)
  stage.crash()
  const before = host.calls.length
  host.userPrompt(parentID, 'where were we')
  await clock.advance(10_000)
  expect(notices()[0]).toContain('result of work')
  const asked = host.calls.slice(before).filter((call) => call.sessionID === sessionID)
  expect(asked.map(({ method }) => method)).toEqual(['newestMessages'])
})

test('the record keeps the steps of an ended task over a restart', async () => {
  const stage = createFakeStage({ notify: { wake: 'never' } })
  const { clock, host, parentID } = stage
  const { id } = await stage.launch('work')
  await clock.advance(100)
  stage.answer('work')
  await clock.advance(1000)
  stage.crash()
  host.userPrompt(parentID, 'where were we')
  await clock.advance(10_000)
  expect(stage.manager.story(id)?.steps.map(stepText)).toEqual([
    'queued',
    'starting',
    'running',
    'the model answers',
    'completed',
    'notice owed',
    'recovered after a restart, completed',
    'notice owed from before OpenCode started',
    "notice sent with the user's message",
    "notice confirmed: the parent's model has read it",
  ])
})

test('after a kill, a finished task is completed, a running one interrupted, a queued one not started', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 }, notify: { wake: 'never' } })
  const { clock, host, parentID, answer, notices } = stage
  const finished = await stage.launch('finished')
  const cutOff = await stage.launch('cut off')
  const queued = await stage.launch('queued')
  const { script } = host
  host.script = (request) =>
    request.sessionID === cutOff.sessionID && request.messages.at(-1)?.role !== 'tool'
      ? { text: 'I look first.', tools: [{ name: 'read', args: {} }] }
      : script(request)
  await clock.advance(100)
  answer('finished')
  await clock.advance(200)
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  const interrupted = { status: 'failed', failure: { reason: 'interrupted' } }
  expect(stage.manager.get(finished.id)).toMatchObject({ status: 'completed' })
  expect(stage.manager.get(cutOff.id)).toMatchObject({ ...interrupted, usage: { toolCalls: 1 } })
  expect(stage.manager.get(queued.id)).toMatchObject(interrupted)
  const told = notices().join('\n')
  expect(told).toContain('<result>result of finished</result>')
  expect(told).toContain('OpenCode stopped before the task had ended')
  expect(told).toContain('<partial>I look first.</partial>')
  expect(told).toContain('OpenCode stopped before the task had started')
  expect(notices()).toHaveLength(3)
  // The record has this end too, so that the next restart finds it.
  expect(host.session(cutOff.sessionID).metadata).toMatchObject({ background: interrupted })
})

test('a kill right after another prompt to a task does not lose the prompt', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 }, notify: { wake: 'never' } })
  const { clock, host, parentID, answer } = stage
  const ended = await stage.launch('first')
  await clock.advance(100)
  answer('first')
  await clock.advance(100)
  await stage.launch('in the way')
  const queued = await stage.launch('queued')
  await clock.advance(100)
  host.latencyMs = () => 20
  const said = [stage.manager.continue(ended.id, 'more'), stage.manager.continue(queued.id, 'and that')]
  await Promise.all([Promise.all(said).then(stage.crash), clock.advance(1000)])
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(stage.manager.get(ended.id)).toMatchObject({ run: 2, status: 'failed' })
  expect(stage.manager.get(queued.id)).toMatchObject({ run: 1, prompt: 'queued\n\nand that' })
})

test('a task that had not started before a kill gets its first prompt when it is continued', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 }, notify: { wake: 'never' } })
  const { clock, host, parentID } = stage
  await stage.launch('in the way')
  const queued = await stage.launch('queued')
  await clock.advance(100)
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  void stage.manager.continue(queued.id, 'start now')
  await clock.advance(1000)
  const asked = host.modelRequests.findLast(({ sessionID }) => sessionID === queued.sessionID)
  expect(asked?.messages.at(-1)?.content).toBe('queued\n\nstart now')
})

test('no notice after a restart reports an end that the parent has read', async () => {
  const stage = createFakeStage({ notify: { wake: 'never' } })
  const { clock, host, parentID, answer, notices } = stage
  const { id } = await stage.launch('work')
  const reading = stage.read(id, { timeoutMs: 1000 })
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  expect((await reading).task.status).toBe('completed')
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(notices()).toEqual([])
})

test('a task from before a restart continues in its session, and a cancelled one gets no notice', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, answer, notices } = stage
  const { id, sessionID } = await stage.launch('work')
  const stopped = await stage.launch('stopped')
  await clock.advance(100)
  const cancelled = stage.manager.cancel(stopped.id)
  await clock.advance(5000)
  await cancelled
  stage.crash()
  await stage.manager.recover(parentID)
  expect(await stage.manager.continue(id, 'more')).toMatchObject({ run: 2, sessionID })
  answer('more', { text: 'and more' })
  await clock.advance(1000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
  expect(stage.manager.get(stopped.id)).toMatchObject({ status: 'cancelled', by: 'parent' })
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  const told = notices().join('\n')
  expect(told.match(/run="1"/g)).toHaveLength(1)
  expect(told.match(/run="2"/g)).toHaveLength(1)
  expect(told).not.toContain(stopped.id)
})

test('a steering prompt from before a kill belongs to its run', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, answer, notices } = stage
  const { id } = await stage.launch('work')
  await clock.advance(100)
  await stage.manager.continue(id, 'steer')
  await clock.advance(100)
  answer('work')
  await clock.advance(20)
  // The model works on the second answer.
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  expect(notices().join('\n')).toContain('<partial>result of work</partial>')
})

test('a failed recovery is repeated at the next message, and loses no notice', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, notices } = stage
  await stage.launch('work')
  await clock.advance(100)
  stage.crash()
  host.failNext('children')
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(notices()).toHaveLength(0)
  host.userPrompt(parentID, 'again')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
})

/** Returns a stage whose process was killed when three children had ended, of which nothing is reported. */
async function killedWithThreeEnds(): Promise<FakeStage> {
  const stage = createFakeStage({ notify: { wake: 'never' } })
  for (const name of ['one', 'two', 'three']) {
    await stage.launch(name)
    await stage.clock.advance(100)
    stage.answer(name)
    await stage.clock.advance(1000)
  }
  stage.crash()
  return stage
}

test('a child that cannot be read after a kill delays the notice of no other child', async () => {
  const { clock, host, parentID, notices } = await killedWithThreeEnds()
  host.failNext('newestMessages')
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(notices().join('\n')).not.toContain('result of one')
  expect(notices().join('\n')).toMatch(/result of two[^]*result of three/)
  host.userPrompt(parentID, 'again')
  await clock.advance(1000)
  expect(notices()).toHaveLength(3)
  expect(notices().join('\n')).toContain('result of one')
})

test("after a kill, a host that does not answer holds the user's message up for one time limit only", async () => {
  const { clock, host, parentID, notices } = await killedWithThreeEnds()
  const asked = host.modelRequests.length
  host.hangNext('newestMessages')
  host.hangNext('newestMessages')
  host.userPrompt(parentID, 'well')
  await clock.advance(16_000)
  expect(host.modelRequests).toHaveLength(asked + 1)
  for (const text of ['again', 'and again']) {
    host.userPrompt(parentID, text)
    await clock.advance(16_000)
  }
  expect(notices()).toHaveLength(3)
})

test('a session is searched for earlier tasks once, however many messages follow', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID } = stage
  for (const text of ['one', 'two', 'three']) {
    host.userPrompt(parentID, text)
    await clock.advance(1000)
  }
  await Promise.all([stage.manager.recover(parentID), stage.manager.recover(parentID)])
  expect(host.calls.filter(({ method }) => method === 'children')).toHaveLength(1)
})

test('a notice is not repeated after a kill, even if the end was not recorded', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, answer, notices } = stage
  const { id } = await stage.launch('work')
  await clock.advance(100)
  host.hangNext('replaceMetadata')
  answer('work')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(stage.manager.get(id)?.status).toBe('completed')
  expect(notices()).toHaveLength(1)
})

test('a restart sends the owed notice of an earlier run beside that of the next run', async () => {
  const stage = createFakeStage({ notify: { wake: 'never' } })
  const { clock, host, parentID, answer, notices } = stage
  const { id } = await stage.launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(100)
  answer('more')
  await Promise.all([stage.manager.continue(id, 'more'), clock.advance(1000)])
  stage.crash()
  for (const text of ['well', 'thanks']) {
    host.userPrompt(parentID, text)
    await clock.advance(1000)
  }
  expect(notices()).toHaveLength(2)
  expect(notices().join('\n')).toMatch(/run="1"[^]*result of work[^]*run="2"[^]*result of more/)
})

test('no notice after a restart reports an earlier run that its parent has cancelled', async () => {
  const stage = createFakeStage({ notify: { wake: 'never' } })
  const { clock, host, parentID, answer, notices } = stage
  const { id } = await stage.launch('work')
  await clock.advance(100)
  await Promise.all([stage.manager.cancel(id), clock.advance(1000)])
  answer('more')
  await Promise.all([stage.manager.continue(id, 'more'), clock.advance(1000)])
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
  expect(notices()[0]).toContain('run="2"')
})

test('a child that begins to work after the end of its instance is stopped when its task is recovered', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID } = stage
  const { sessionID } = await stage.launch('work')
  await clock.advance(100)
  stage.crash()
  // Stands for a prompt that was in flight when the instance ended.
  const [prompt] = host.messagesOf(sessionID)
  const messageID = prompt?.info.id ?? ''
  void host.opencode.prompt(sessionID, {
    messageID,
    parts: [{ id: 'prt_again', text: 'work', synthetic: false }],
  })
  await clock.advance(100)
  expect(await host.opencode.statuses()).toHaveProperty(sessionID)
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(await host.opencode.statuses()).not.toHaveProperty(sessionID)
})

test('a notice stored but unread before a kill is delivered, even if the user undoes its message', async () => {
  const stage = createFakeStage({ notify: { wake: 'never' } })
  const { clock, host, parentID, answer } = stage
  await stage.launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(100)
  const { script } = host
  host.script = (request) => (request.sessionID === parentID ? new Promise(() => {}) : script(request))
  const messageID = host.userPrompt(parentID, 'with the notice')
  await clock.advance(100)
  stage.crash()
  host.script = script
  await Promise.all([stage.manager.recover(parentID), clock.advance(100)])
  await Promise.all([host.userAbort(parentID), clock.advance(100)])
  host.userRevert(parentID, messageID)
  host.userPrompt(parentID, 'something else')
  await clock.advance(1000)
  const asked = host.modelRequests.findLast(({ sessionID }) => sessionID === parentID)
  expect(asked?.messages.filter(({ content }) => content.includes('result of work'))).toHaveLength(1)
})

test('a notice reports a task as not started that was queued when its instance ended', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, host, parentID, notices } = stage
  await stage.launch('in the way')
  const queued = await stage.launch('queued')
  await clock.advance(100)
  await stage.restart(3)
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  const told = notices().find((text) => text.includes(queued.id))
  expect(told).toContain('before the task had started')
})

test('the notice of a task that the end of its instance interrupted has its usage', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, notices } = stage
  host.script = ({ sessionID, messages }) =>
    sessionID === parentID
      ? { text: 'Noted.' }
      : messages.at(-1)?.role === 'tool'
        ? new Promise(() => {})
        : { text: 'I look first.', tools: [{ name: 'read', args: {} }] }
  await stage.launch('work')
  await clock.advance(200)
  await stage.restart(3)
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(notices()[0]).toContain('tool_calls="1"')
})

test('a child that had finished when its instance ended is completed', { timeout: 60_000 }, async () => {
  const wrong: string[] = []
  for (let moment = 0; moment <= 60; moment += 1) {
    const stage = createFakeStage()
    const { clock, host, parentID, notices } = stage
    host.script = ({ sessionID }) => ({ text: sessionID === parentID ? 'Noted.' : 'the result' })
    const { id, sessionID } = await stage.launch('work')
    host.latencyMs = () => 10
    await clock.advance(moment)
    const child = host.messagesOf(sessionID).at(-1)?.info
    const finished =
      child?.role === 'assistant' && child.finish === 'stop' && child.time.completed !== undefined
    await stage.restart(0)
    host.userPrompt(parentID, 'well')
    await clock.advance(10_000)
    const status = stage.manager.get(id)?.status
    if (finished && status !== 'completed') wrong.push(`${moment} ms: ${status}, ${notices().length} notices`)
  }
  expect(wrong).toEqual([])
})

test('an owed notice of an earlier run has the text of that run, and none of the next one', async () => {
  const stage = createFakeStage({ notify: { wake: 'never' }, timeoutMs: 2000 })
  const { clock, host, parentID, notices } = stage
  host.runTool = () => new Promise(() => {})
  host.script = ({ sessionID, messages }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    const asked = messages.findLast(({ role }) => role === 'user')?.content
    return asked === 'more'
      ? { text: 'RESULT TWO' }
      : { text: 'I look first.', tools: [{ name: 'bash', args: {} }] }
  }
  const { id } = await stage.launch('work')
  await clock.advance(6000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'timeout' } })
  await Promise.all([stage.manager.continue(id, 'more'), clock.advance(1000)])
  expect(stage.manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  const first = notices().find((text) => text.includes('run="1"'))
  expect(first).toContain('I look first.')
  expect(first).not.toContain('RESULT TWO')
})

test('the duration of an interrupted task excludes the time in which OpenCode did not run', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, notices } = stage
  await stage.launch('work')
  await clock.advance(1000)
  stage.crash()
  await clock.advance(15 * 3_600_000)
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(notices()[0]).not.toContain('duration="15h')
})

test('after a restart the list is in launch order', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID } = stage
  const ids: string[] = []
  for (const name of ['a', 'b', 'c']) {
    ids.push((await stage.launch(name)).id)
    await clock.advance(50)
  }
  stage.answer('b')
  await clock.advance(500)
  stage.crash()
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(stage.manager.list(parentID).map(({ id }) => id)).toEqual(ids)
})

test('no notice after a kill reports a task whose cancel had returned', async () => {
  const wrong: string[] = []
  for (let moment = 0; moment <= 60; moment += 5) {
    const stage = createFakeStage()
    const { clock, host, parentID, notices } = stage
    const { id } = await stage.launch('work')
    await clock.advance(100)
    host.latencyMs = () => 5
    let returned = false
    void stage.manager.cancel(id).then(() => (returned = true))
    await clock.advance(moment)
    const known = returned
    stage.crash()
    host.latencyMs = () => 0
    host.userPrompt(parentID, 'well')
    await clock.advance(1000)
    if (known && notices().length > 0) wrong.push(`${moment} ms`)
  }
  expect(wrong).toEqual([])
})

test('a turn that the user has started in a child since the kill is not stopped by the recovery', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID } = stage
  const { sessionID } = await stage.launch('work')
  await clock.advance(100)
  stage.crash()
  host.userPrompt(sessionID, 'go on by yourself')
  await clock.advance(100)
  expect(host.isBusy(sessionID)).toBe(true)
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(host.isBusy(sessionID)).toBe(true)
})

test('a restart reads no messages of reported tasks, however many runs they had', async () => {
  const { clock, host, crash, launch, answer, manager, parentID } = createFakeStage()
  const tasks = [await launch('one'), await launch('two')]
  answer('one')
  answer('two')
  await clock.advance(1000)
  for (const { id } of tasks) await manager.continue(id, 'more')
  answer('more')
  await clock.advance(100)
  answer('more')
  await clock.advance(2000)
  expect(tasks.map(({ id }) => manager.get(id))).toMatchObject([{ run: 2, status: 'completed' }, { run: 2 }])
  crash()
  await clock.advance(1000)
  const before = host.calls.length
  host.userPrompt(parentID, 'hello again')
  await clock.advance(1000)
  const read = host.calls.slice(before).filter(({ method }) => method === 'messages')
  expect(read.map(({ sessionID }) => sessionID)).toEqual([parentID])
})

test('a recovery reads one session at a time, because OpenCode does nothing else meanwhile', async () => {
  const stage = createFakeStage()
  const { clock, host, crash, launch, parentID } = stage
  const tasks = [await launch('one'), await launch('two'), await launch('three')]
  const children = new Set(tasks.map(({ sessionID }) => sessionID))
  await clock.advance(100)
  crash()
  await clock.advance(1000)
  host.latencyMs = () => 50
  const before = host.calls.length
  const reads = (): number =>
    host.calls
      .slice(before)
      .filter(({ method, sessionID = '' }) => method === 'messages' && children.has(sessionID)).length
  const recovering = stage.manager.recover(parentID)
  const begunAt: number[] = []
  for (let ms = 0; ms < 3000; ms += 10) {
    while (begunAt.length < reads()) begunAt.push(ms)
    await clock.advance(10)
  }
  await recovering
  expect(begunAt).toHaveLength(3)
  const [first = 0, second = 0, third = 0] = begunAt
  // Each call takes 50 ms to OpenCode, and its answer 50 ms back.
  expect(Math.min(second - first, third - second)).toBeGreaterThanOrEqual(90)
})

test('a task of another living process is not adopted, and its own process sends the notice', async () => {
  const stage = createFakeStage()
  const { clock, host, parentID, answer, notices } = stage
  const { id } = await stage.launch('work')
  await clock.advance(100)
  stage.second()
  host.userPrompt(parentID, 'hello from the other side')
  await clock.advance(1000)
  expect(stage.manager.get(id)).toBeUndefined()
  expect(notices()).toHaveLength(0)
  answer('work')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
  expect(notices()[0]).toContain('result of work')
})
