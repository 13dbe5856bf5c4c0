import { stepText } from '../../src/text/step-text.ts'
import { expect, test } from 'vitest'
import { isEnded } from '../../src/task/task.ts'
import { pause } from '../harness/fake-run.ts'
import { createFakeStage } from '../harness/fake-stage.ts'

const NEVER = new Promise<never>(() => {})

test('an end that a tool call reads is settled when the call is stored, and not before', async () => {
  const { clock, launch, answer, notices, read, manager } = createFakeStage()
  const { id } = await launch('one')
  const report = read(id, { timeoutMs: 10_000 }, { end: pause(clock, 60_000) })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect((await report).task.status).toBe('completed')
  const settled = 'its end was read: no notice is owed'
  expect(manager.story(id)?.steps.map(stepText)).not.toContain(settled)
  await clock.advance(60_000)
  expect(manager.story(id)?.steps.map(stepText)).toContain(settled)
  expect(notices()).toEqual([])
})

test('no notice reports two ends that one tool call waits for and reads', async () => {
  const { clock, host, launch, answer, notices, manager, parentID } = createFakeStage()
  const ids = [(await launch('one')).id, (await launch('two')).id]
  const read = new Promise<string>((resolve) => {
    host.callTool(parentID, async (callID) => {
      const reader = { sessionID: parentID, callID }
      const results = ids.map(async (id) => {
        await manager.waitForCompletion(id, { reader })
        return (await manager.output(id, { reader })).transcript?.text
      })
      const text = (await Promise.all(results)).join(', ')
      resolve(text)
      return text
    })
  })
  await clock.advance(100)
  answer('one')
  await clock.advance(5000)
  answer('two')
  await clock.advance(10_000)
  expect(await read).toBe('result of one, result of two')
  expect(notices()).toEqual([])
})

test('a notice reports an end that was read without a reader', async () => {
  const { clock, launch, answer, notices, manager } = createFakeStage()
  const { id } = await launch('one')
  const waited = manager.waitForCompletion(id)
  const report = manager.output(id, { timeoutMs: 0 })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect(await waited).toMatchObject({ type: 'ended', task: { status: 'completed' } })
  expect((await report).task.status).toBe('completed')
  expect(notices()).toHaveLength(1)
})

test('a tool call in another session than the parent settles no end', async () => {
  const { clock, host, launch, answer, notices, manager } = createFakeStage()
  const { id } = await launch('one')
  const other = host.createRootSession().id
  host.callTool(other, async (callID) => {
    const { task } = await manager.output(id, { timeoutMs: 0, reader: { sessionID: other, callID } })
    return task.status
  })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect(notices()).toHaveLength(1)
})

test('a notice reports an end when the tool call that has read it fails', async () => {
  const { clock, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('one')
  const failure = pause(clock, 5000).then(() => Promise.reject(new Error('The tool failed.')))
  const report = read(id, { timeoutMs: 0 }, { end: failure })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect((await report).task.status).toBe('completed')
  expect(notices()).toEqual([])
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a notice reports an end when the user aborts the tool call that has read it', async () => {
  const { clock, host, launch, answer, notices, read, parentID } = createFakeStage()
  const { id } = await launch('one')
  const report = read(id, { timeoutMs: 0 }, { end: NEVER })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect((await report).task.status).toBe('completed')
  void host.userAbort(parentID)
  await clock.advance(10_000)
  // The parent is interrupted, so that the notice piggybacks on the user's next message.
  expect(notices()).toEqual([])
  host.userPrompt(parentID, 'go on')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('a notice reports an end once the parent is idle, if the reading call was never stored', async () => {
  const { clock, host, launch, answer, notices, manager, parentID } = createFakeStage()
  const { id } = await launch('one')
  host.callTool(parentID, async () => {
    await manager.output(id, { timeoutMs: 0, reader: { sessionID: parentID, callID: 'call_unknown' } })
    await pause(clock, 30_000)
    return 'read'
  })
  await clock.advance(100)
  answer('one')
  await clock.advance(20_000)
  expect(notices()).toEqual([])
  await clock.advance(20_000)
  expect(notices()).toHaveLength(1)
})

test('a notice reports an end that a tool call reads only after it has returned', async () => {
  const { clock, host, launch, answer, notices, manager, parentID } = createFakeStage()
  const { id } = await launch('one')
  const reading = new Promise((resolve) => {
    host.callTool(parentID, (callID) => {
      resolve(manager.output(id, { timeoutMs: 0, reader: { sessionID: parentID, callID } }))
      return 'I do not wait.'
    })
  })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect(await reading).toMatchObject({ task: { status: 'completed' } })
  expect(notices()).toHaveLength(1)
})

test('a notice reports an end that was read in the name of an earlier tool call', async () => {
  const { clock, host, launch, answer, notices, manager, parentID } = createFakeStage()
  const { id } = await launch('one')
  let earlier = ''
  host.callTool(parentID, (callID) => {
    earlier = callID
    return 'nothing yet'
  })
  await clock.advance(100)
  host.failNext('prompt')
  answer('one')
  await clock.advance(100)
  const report = manager.output(id, { reader: { sessionID: parentID, callID: earlier } })
  await clock.advance(60_000)
  expect((await report).task.status).toBe('completed')
  expect(notices()).toHaveLength(1)
})

test('no notice reports a read end, even if the event of the stored call is lost', async () => {
  const { clock, host, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('one')
  const report = read(id, { timeoutMs: 0 }, { end: pause(clock, 3000) })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  host.muteEvents = true
  await clock.advance(5000)
  host.muteEvents = false
  await clock.advance(60_000)
  expect((await report).task.status).toBe('completed')
  expect(notices()).toEqual([])
})

test('of calls with equal ids, the one in the message of the reader decides', async () => {
  const { clock, host, launch, answer, notices, manager, parentID } = createFakeStage()
  const { id } = await launch('one')
  host.callTool(parentID, async (callID) => {
    const reader = { sessionID: parentID, callID, messageID: 'msg_of_another_call' }
    return (await manager.output(id, { timeoutMs: 0, reader })).task.status
  })
  await clock.advance(100)
  answer('one')
  await clock.advance(10_000)
  expect(notices()).toHaveLength(1)
})

test('while a tool call reads an end, its notice is held, and the notices of siblings are sent', async () => {
  const { clock, host, launch, answer, notices, read, parentID } = createFakeStage()
  const { id } = await launch('one')
  await launch('two')
  for (let attempt = 0; attempt < 4; attempt += 1) host.failNext('prompt')
  const report = read(id, {}, { start: pause(clock, 3000), end: pause(clock, 200_000) })
  await clock.advance(100)
  answer('one')
  await clock.advance(5000)
  expect((await report).task.status).toBe('completed')
  host.clearFaults()
  answer('two')
  await clock.advance(100_000)
  expect(host.isBusy(parentID)).toBe(true)
  expect(notices().map((text) => /\n(.*)\n/.exec(text)?.[1])).toEqual(['two'])
  await clock.advance(200_000)
  expect(notices()).toHaveLength(1)
})

test('a gathering notice is held when a tool call reads its end, and the others are sent', async () => {
  const { clock, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('one')
  await launch('two')
  await launch('three')
  const moments = { start: pause(clock, 150), end: pause(clock, 60_000) }
  const report = read(id, {}, moments)
  await clock.advance(100)
  answer('one')
  answer('two')
  await clock.advance(90_000)
  expect((await report).task.status).toBe('completed')
  expect(notices()).toEqual([expect.stringContaining('result of two')])
})

test('a notice that is about to be sent is held when a tool call begins to read its end', async () => {
  const { clock, host, launch, answer, notices, read, manager, parentID } = createFakeStage()
  const { id } = await launch('one')
  // Beside a running sibling, the gate reads the parent after the end.
  await launch('other')
  const session = host.opencode.session.bind(host.opencode)
  const start = new Promise<void>((resolve) => {
    host.opencode.session = async (sessionID) => {
      // The gate reads the parent before the delivery.
      if (sessionID === parentID && manager.get(id)?.status === 'completed') {
        resolve()
        await pause(clock, 5)
      }
      return session(sessionID)
    }
  })
  const report = read(id, {}, { start, end: pause(clock, 60_000) })
  await clock.advance(100)
  answer('one')
  await clock.advance(30_000)
  expect((await report).task.status).toBe('completed')
  await clock.advance(60_000)
  expect(notices()).toEqual([])
})

test('a message of two ends is not sent while the second is read, after the first was settled', async () => {
  const { clock, host, launch, answer, notices, manager, parentID } = createFakeStage()
  const [one, two] = [await launch('one'), await launch('two')]
  await clock.advance(100)
  for (let attempt = 0; attempt < 4; attempt += 1) host.failNext('prompt')
  answer('one')
  answer('two')
  // Both notices are in one message, which is not accepted.
  await clock.advance(1000)
  const readFor = (id: string, ms: number) => async (callID: string) => {
    const { task, receipt } = await manager.output(id, { reader: { sessionID: parentID, callID } })
    await pause(clock, ms)
    return { output: task.status, metadata: { ...receipt } }
  }
  host.callTool(parentID, readFor(one.id, 20_000), readFor(two.id, 60_000))
  await clock.advance(1000)
  host.clearFaults()
  await clock.advance(100_000)
  expect(notices()).toEqual([])
})

test('a held notice is sent when the tool call that has read its end fails', async () => {
  const { clock, host, launch, answer, notices, read } = createFakeStage()
  const { id } = await launch('one')
  for (let attempt = 0; attempt < 3; attempt += 1) host.failNext('prompt')
  const failure = pause(clock, 100_000).then(() => Promise.reject(new Error('The tool failed.')))
  void read(id, {}, { start: pause(clock, 2000), end: failure })
  await clock.advance(100)
  answer('one')
  await clock.advance(50_000)
  expect(notices()).toEqual([])
  await clock.advance(100_000)
  expect(notices()).toHaveLength(1)
})

test('a tool call that waits for one run and reads the end of the next settles both', async () => {
  const { clock, host, launch, answer, notices, manager, parentID } = createFakeStage()
  const { id } = await launch('one')
  const read = new Promise((resolve) => {
    host.callTool(parentID, async (callID) => {
      const reader = { sessionID: parentID, callID }
      const first = await manager.output(id, { timeoutMs: 0, reader })
      await manager.continue(id, 'two')
      const second = await manager.output(id, { timeoutMs: 0, reader })
      resolve([first.transcript?.text, second.transcript?.text])
      return 'both'
    })
  })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  answer('two')
  await clock.advance(10_000)
  expect(await read).toEqual(['result of one', 'result of two'])
  expect(notices()).toEqual([])
})

test('the hold of `opencode run` ends as soon as a tool call has read the last end', async () => {
  const { clock, launch, answer, manager, parentID, read } = createFakeStage()
  const { id } = await launch('one')
  // OpenCode stores a call only after the hook for the text before it has returned.
  const stored = new Promise((resolve) => setImmediate(resolve)).then(() =>
    manager.hooks()['experimental.text.complete']({ sessionID: parentID }),
  )
  const report = read(id, { timeoutMs: 0 }, { end: stored })
  await clock.advance(100)
  answer('one')
  await clock.advance(1000)
  expect((await report).task.status).toBe('completed')
  let isOver = false
  void stored.then(() => (isOver = true))
  await clock.advance(1)
  expect(isOver).toBe(true)
})

test('waitForCompletion returns whether the task has ended, the time is over, or the signal is aborted', async () => {
  const { clock, launch, answer, manager } = createFakeStage()
  const { id } = await launch('one')
  const signal = AbortSignal.abort()
  expect(await manager.waitForCompletion(id, { signal })).toMatchObject({
    type: 'aborted',
    task: { status: 'starting' },
  })
  const late = manager.waitForCompletion(id, { timeoutMs: 50 })
  await clock.advance(100)
  expect(await late).toMatchObject({ type: 'timedOut', task: { status: 'running' } })
  answer('one')
  await clock.advance(1000)
  const ended = await manager.waitForCompletion(id, { signal })
  expect(ended).toMatchObject({ type: 'ended', task: { status: 'completed' } })
  expect(isEnded(ended.task)).toBe(true)
  await expect(manager.waitForCompletion('bg_00000000')).rejects.toMatchObject({ code: 'unknownTask' })
})

test('each mistake of a caller rejects with an error code, and has no effect', async () => {
  const { clock, host, launch, answer, manager, parentID } = createFakeStage({ maxTasksPerSession: 1 })
  const request = { parentID, agent: 'general', prompt: 'work', description: 'work' }
  const refused = async (work: Promise<unknown>): Promise<unknown> => {
    const failed = work.then(
      () => undefined,
      (error: unknown) => error,
    )
    await clock.advance(100)
    return failed
  }
  const unknown = 'bg_00000000'
  const command = { parentID, command: ' ', cwd: '/', description: 'nothing', timeoutMs: 0, notifyOn: [] }
  for (const [work, code] of [
    [() => manager.launch({ ...request, prompt: ' \n' }), 'emptyPrompt'],
    [() => manager.launch({ ...request, agent: 'nobody' }), 'unknownAgent'],
    [() => manager.launch({ ...request, agent: 'build' }), 'unknownAgent'],
    [() => manager.launch({ ...request, model: 'mock/none' }), 'unknownModel'],
    [() => manager.launch({ ...request, model: 'none/m1' }), 'unknownModel'],
    [() => manager.launch({ ...request, parentID: 'ses_none' }), 'unknownSession'],
    [() => manager.launchCommand(command), 'badArgument'],
    [() => manager.output(unknown), 'unknownTask'],
    [() => manager.cancel(unknown), 'unknownTask'],
    [() => manager.continue(unknown, 'more'), 'unknownTask'],
  ] as const)
    expect(await refused(work())).toMatchObject({ name: 'ToolError', code })
  expect(manager.list(parentID)).toEqual([])
  expect(host.sessionIDs).toHaveLength(1)
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  for (const [work, code] of [
    [() => manager.launch({ ...request, parentID: sessionID }), 'childSession'],
    [() => manager.launch(request), 'tooManyTasks'],
    [() => manager.continue(id, ''), 'emptyPrompt'],
    [() => manager.continue(id, 'more', { model: 'mock/m2' }), 'wrongState'],
  ] as const)
    expect(await refused(work())).toMatchObject({ name: 'ToolError', code })
  host.failNext('prompt')
  expect(await refused(manager.continue(id, 'more'))).toMatchObject({
    code: 'hostFailed',
    cause: { name: 'HostError', reason: 'refused' },
  })
  answer('work')
  await clock.advance(1000)
})

test('a wait may have any length, and a negative or invalid one times out at once', async () => {
  const { clock, launch, answer, manager } = createFakeStage()
  const { id } = await launch('one')
  const timesOut = [-1, Number.NaN, Number.NEGATIVE_INFINITY].map((timeoutMs) =>
    manager.waitForCompletion(id, { timeoutMs }),
  )
  expect((await Promise.all(timesOut)).map(({ type }) => type)).toEqual(['timedOut', 'timedOut', 'timedOut'])
  const waits = [0, 2 ** 31, Infinity].map((timeoutMs) => manager.waitForCompletion(id, { timeoutMs }))
  await clock.advance(60_000)
  answer('one')
  await clock.advance(1000)
  expect((await Promise.all(waits)).map(({ type }) => type)).toEqual(['ended', 'ended', 'ended'])
})

test('launchCommand rejects an invalid time limit, and treats an infinite one as no limit', async () => {
  const { clock, manager, parentID } = createFakeStage()
  const request = { parentID, command: 'true', cwd: '/', description: 'x', notifyOn: [] }
  for (const timeoutMs of [-1, Number.NaN])
    await expect(manager.launchCommand({ ...request, timeoutMs })).rejects.toMatchObject({
      code: 'badArgument',
    })
  const task = manager.launchCommand({ ...request, timeoutMs: Infinity })
  await clock.advance(1000)
  expect((await task).timeoutMs).toBe(0)
})
