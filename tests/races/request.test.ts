import { stepText } from '../../src/text/step-text.ts'
import { expect, test } from 'vitest'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'

let asked = 0

/** Writes a request as the terminal UI does: reads the metadata, adds the request, and replaces all of it. */
async function ask(
  { host }: FakeStage,
  sessionID: string,
  request: { readonly kind: string; readonly run?: number; readonly prompt?: string },
): Promise<string> {
  const id = `ask-${(asked += 1)}`
  const { metadata } = await host.opencode.session(sessionID)
  await host.opencode.replaceMetadata(sessionID, {
    ...metadata,
    backgroundRequest: { id, run: 1, ...request },
  })
  return id
}

const requestIn = ({ host }: FakeStage, sessionID: string): unknown =>
  host.session(sessionID).metadata?.['backgroundRequest']

test('a cancel request keeps a pending task from starting, and its notice names the user', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, host, manager, launch, answer, notices } = stage
  await launch('first')
  const { id, sessionID } = await launch('second')
  await clock.advance(100)
  const asking = ask(stage, sessionID, { kind: 'cancel' })
  await clock.advance(100)
  expect(manager.get(id)).toMatchObject({ status: 'cancelled', by: 'user' })
  expect(requestIn(stage, sessionID)).toMatchObject({
    id: await asking,
    answer: { ok: true, text: `${id} is cancelled.` },
  })
  answer('first')
  await clock.advance(10_000)
  expect(host.messagesOf(sessionID)).toEqual([])
  expect(notices().filter((text) => text.includes(id))).toHaveLength(1)
  expect(notices().join('\n')).toContain('by="user"')
  expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'cancelled' } })
})

test('a continue request starts the next run of an ended task once, and a notice reports its end', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch, answer, notices } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  void ask(stage, sessionID, { kind: 'continue', prompt: 'more' })
  await clock.advance(1000)
  expect(manager.get(id)).toMatchObject({ status: 'running', run: 2 })
  expect(requestIn(stage, sessionID)).toMatchObject({ answer: { ok: true } })
  const steps = manager.story(id)?.steps.map(stepText)
  expect(steps).toContain('continue requested in the terminal UI')
  answer('more', { text: 'and more' })
  await clock.advance(10_000)
  expect(notices().filter((text) => text.includes('run="2" asker="user"'))).toHaveLength(1)
  expect(notices().join('\n').match(/asker/g)).toHaveLength(1)
  expect(host.session(sessionID).metadata).toMatchObject({
    background: { status: 'completed', run: 2, askedBy: 'user' },
    backgroundRequest: { kind: 'continue', answer: { ok: true } },
  })
})

test('a request for an ended run is refused, and has no effect', async () => {
  const stage = createFakeStage()
  const { clock, manager, launch, answer } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  await manager.continue(id, 'more')
  await clock.advance(100)
  void ask(stage, sessionID, { kind: 'cancel', run: 1 })
  await clock.advance(1000)
  expect(manager.get(id)).toMatchObject({ status: 'running', run: 2 })
  expect(requestIn(stage, sessionID)).toMatchObject({ answer: { ok: false } })
  answer('more')
  await clock.advance(1000)
})

test('a request with an empty prompt, or for the output of an agent, is answered with the reason', async () => {
  const stage = createFakeStage()
  const { clock, launch, answer } = stage
  const { sessionID } = await launch('work')
  await clock.advance(100)
  void ask(stage, sessionID, { kind: 'continue', prompt: ' ' })
  await clock.advance(100)
  expect(requestIn(stage, sessionID)).toMatchObject({
    answer: { ok: false, text: expect.stringMatching('The prompt is empty') as string },
  })
  void ask(stage, sessionID, { kind: 'output' })
  await clock.advance(100)
  expect(requestIn(stage, sessionID)).toMatchObject({
    answer: { ok: false, text: expect.stringMatching('has no output') as string },
  })
  answer('work')
  await clock.advance(1000)
})

test('an invalid request in the metadata changes nothing', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch, answer } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  const { metadata } = host.session(sessionID)
  const nonsense = [
    true,
    {},
    { id: 1 },
    { id: 'x', run: 1, kind: 'explode' },
    { id: 'x', run: 'two', kind: 'cancel' },
  ]
  for (const backgroundRequest of nonsense) {
    void host.opencode.replaceMetadata(sessionID, { ...metadata, backgroundRequest })
    await clock.advance(100)
  }
  expect(manager.get(id)?.status).toBe('running')
  expect(requestIn(stage, sessionID)).toEqual(nonsense.at(-1))
  answer('work')
  await clock.advance(1000)
})

// The terminal UI reads the metadata, the task ends meanwhile, and the UI then writes the older record.
test('a request at any moment around the end of its task loses neither the end nor the request', async () => {
  for (let lead = -30; lead <= 30; lead += 3) {
    const stage = createFakeStage()
    const { clock, host, manager, launch, answer, notices } = stage
    const { id, sessionID } = await launch('work')
    await clock.advance(100)
    const { metadata } = host.session(sessionID)
    const backgroundRequest = { id: `late ${lead}`, run: 1, kind: 'continue', prompt: 'more' }
    const write = (): void =>
      void host.opencode.replaceMetadata(sessionID, { ...metadata, backgroundRequest })
    if (lead < 0) write()
    else answer('work')
    await clock.advance(Math.abs(lead))
    if (lead < 0) answer('work')
    else write()
    answer('more', { text: 'and more' })
    await clock.advance(20_000)
    const task = manager.get(id)
    expect(task?.status, `lead ${lead}`).toBe('completed')
    expect(
      notices()
        .join('\n')
        .match(/and more/g),
      `lead ${lead}`,
    ).toHaveLength(1)
    expect(host.session(sessionID).metadata, `lead ${lead}`).toMatchObject({
      background: { status: 'completed', run: task?.run },
      backgroundRequest: { id: `late ${lead}`, answer: { ok: true } },
    })
  }
})

test('a continue request starts the next run of a task from before a restart', async () => {
  const stage = createFakeStage()
  const { clock, crash, launch, answer } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  crash()
  await clock.advance(1000)
  expect(stage.manager.get(id)).toBeUndefined()
  void ask(stage, sessionID, { kind: 'continue', prompt: 'more' })
  await clock.advance(1000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'running', run: 2 })
  answer('more')
  await clock.advance(1000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
})

test('an older record that is written with a request does not replace the newer one', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  const { metadata: old } = await host.opencode.session(sessionID)
  answer('work')
  await clock.advance(1000)
  const backgroundRequest = { id: 'slow', run: 1, kind: 'cancel' }
  void host.opencode.replaceMetadata(sessionID, { ...old, backgroundRequest })
  await clock.advance(1000)
  expect(host.session(sessionID).metadata).toMatchObject({
    background: { status: 'completed' },
    backgroundRequest: { answer: { ok: false, text: `${id} is completed.` } },
  })
})

const saidTo = ({ host }: FakeStage, sessionID: string): string[] =>
  host
    .messagesOf(sessionID)
    .flatMap(({ parts }) => parts)
    .flatMap((part) => (part.type === 'text' && part.text.startsWith('say') ? [part.text] : []))

test('two requests in quick succession are each executed once', async () => {
  for (let lead = 0; lead <= 12; lead += 1) {
    const stage = createFakeStage()
    const { clock, host, launch, answerAll } = stage
    const { sessionID } = await launch('work')
    await clock.advance(100)
    const { metadata } = host.session(sessionID)
    host.latencyMs = () => 5
    const answers: string[] = []
    host.onEvent((event) => {
      if (event.type === 'session.updated') answers.push(JSON.stringify(event.properties.info.metadata))
    })
    const write = (id: string): void => {
      const backgroundRequest = { id, run: 1, kind: 'continue', prompt: `say ${id}` }
      void host.opencode.replaceMetadata(sessionID, { ...metadata, backgroundRequest })
    }
    write('one')
    await clock.advance(lead)
    write('two')
    await clock.advance(1000)
    expect(saidTo(stage, sessionID).toSorted(), `lead ${lead}`).toEqual(['say one', 'say two'])
    for (const id of ['one', 'two'])
      expect(answers.join('\n'), `lead ${lead}`).toMatch(new RegExp(`"id":"${id}".*"answer":{"ok":true`))
    answerAll()
    await clock.advance(5000)
  }
})

test('a request to a process that is then killed starts nothing in the next process', async () => {
  for (let lead = 0; lead <= 40; lead += 1) {
    const stage = createFakeStage()
    const { clock, crash, host, launch, parentID } = stage
    const { id, sessionID } = await launch('work')
    await clock.advance(100)
    host.latencyMs = () => 5
    const backgroundRequest = { id: 'before', run: 1, kind: 'continue', prompt: 'say more' }
    void host.opencode.replaceMetadata(sessionID, { ...host.session(sessionID).metadata, backgroundRequest })
    await clock.advance(lead)
    crash()
    await clock.advance(60_000)
    host.userPrompt(parentID, 'hello again')
    await clock.advance(5000)
    expect(stage.manager.get(id), `lead ${lead}`).toMatchObject({ status: 'failed', run: 1 })
  }
})

test('no request stays open after its answer, however late OpenCode reports the writes', async () => {
  for (const delay of [8, 15]) {
    for (let lead = 15; lead <= 30; lead += 3) {
      const stage = createFakeStage()
      const { clock, host, launch, answer } = stage
      const { sessionID } = await launch('work')
      await clock.advance(100)
      host.latencyMs = () => 5
      host.eventDelays = () => [delay]
      void ask(stage, sessionID, { kind: 'continue', prompt: 'say more' })
      await clock.advance(lead)
      answer('work')
      answer('say more')
      await clock.advance(5000)
      const left = requestIn(stage, sessionID) ?? { answer: 'told, and gone' }
      expect(left, `delay ${delay}, lead ${lead}`).toMatchObject({ answer: expect.anything() as unknown })
    }
  }
})

test('a look request records the ends of tasks whose process is gone, and wakes no session', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, crash, host, launch, notices } = stage
  const first = await launch('first')
  const second = await launch('second')
  await clock.advance(100)
  crash()
  await clock.advance(1000)
  void ask(stage, second.sessionID, { kind: 'look' })
  await clock.advance(1000)
  expect(requestIn(stage, second.sessionID)).toMatchObject({ answer: { ok: true } })
  for (const { sessionID } of [first, second])
    expect(host.session(sessionID).metadata).toMatchObject({
      background: { status: 'failed', failure: { reason: 'interrupted' } },
    })
  expect(notices()).toEqual([])
})

test('a look request adopts no task: the process in which the user continues reports the end', async () => {
  const stage = createFakeStage()
  const { clock, crash, host, launch, parentID, notices } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  crash()
  await clock.advance(1000)
  void ask(stage, sessionID, { kind: 'look' })
  await clock.advance(1000)
  expect(stage.manager.list(parentID)).toEqual([])
  expect(host.session(sessionID).metadata).toMatchObject({ background: { owner: { pid: 1 } } })
  host.userPrompt(parentID, 'where were we')
  await clock.advance(5000)
  expect(stage.manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'interrupted' } })
  expect(notices()).toHaveLength(1)
})

test('a look request for a running task changes nothing', async () => {
  const stage = createFakeStage()
  const { clock, launch, manager, answer } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  void ask(stage, sessionID, { kind: 'look' })
  await clock.advance(1000)
  expect(requestIn(stage, sessionID)).toMatchObject({
    answer: { ok: true, text: 'The records are up to date.' },
  })
  answer('work')
  await clock.advance(1000)
  expect(manager.get(id)?.status).toBe('completed')
})

test('a request in a session of another directory is executed once a command points at it', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch, answer } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(10_000)
  await host.opencode.moveSession(sessionID, '/tree')
  void ask(stage, sessionID, { kind: 'continue', prompt: 'more' })
  await clock.advance(1000)
  expect(manager.get(id)).toMatchObject({ run: 1 })
  for (let times = 0; times < 2; times += 1) host.publishCommand(`background.request.${sessionID}`)
  await clock.advance(1000)
  expect(manager.get(id)).toMatchObject({ run: 2 })
  expect(requestIn(stage, sessionID)).toMatchObject({ answer: { ok: true } })
  await host.opencode.moveSession(sessionID, '/project')
  answer('more')
  await clock.advance(10_000)
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
})

test('a request for a task of another directory is left to the plugin there', async () => {
  const stage = createFakeStage()
  const { clock, host, launch, answer } = stage
  const { sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(10_000)
  const { metadata } = host.session(sessionID)
  const { background } = metadata as { background: { owner: object } }
  const owner = { ...background.owner, directory: '/elsewhere' }
  const request = { id: 'ask', run: 1, kind: 'look' }
  await host.opencode.replaceMetadata(sessionID, {
    background: { ...background, owner },
    backgroundRequest: request,
  })
  await clock.advance(10_000)
  expect(requestIn(stage, sessionID)).toEqual(request)
})
