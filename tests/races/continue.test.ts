import { expect, test } from 'vitest'
import { listBackground } from '../../src/tools/list-background.ts'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'
import { callOf } from '../harness/tool.ts'

const prompts = ({ host }: FakeStage, sessionID: string): string[] =>
  host
    .messagesOf(sessionID)
    .flatMap(({ info, parts }) =>
      info.role === 'user' ? parts.map((part) => (part.type === 'text' ? part.text : '')) : [],
    )

test('another prompt to a pending task is appended to its first prompt', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, manager, launch, answer } = stage
  await launch('first')
  const { id, sessionID } = await launch('second')
  await clock.advance(100)
  expect(await manager.continue(id, 'and mind the tests')).toMatchObject({ status: 'pending', run: 1 })
  answer('first')
  await clock.advance(1000)
  expect(prompts(stage, sessionID)).toEqual(['second\n\nand mind the tests'])
})

test('a running task reads another prompt at its next step, and ends once, with both answers', async () => {
  const stage = createFakeStage()
  const { clock, manager, launch, answer, notices, noticeTurns } = stage
  const { id } = await launch('work')
  await clock.advance(100)
  expect(await manager.continue(id, 'steer')).toMatchObject({ status: 'running', run: 1 })
  await clock.advance(100)
  answer('work', { text: 'the first answer' })
  await clock.advance(100)
  expect(manager.get(id)?.status).toBe('running')
  answer('steer', { text: 'the second answer' })
  await clock.advance(10_000)
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 1 })
  expect(notices()).toHaveLength(1)
  expect(notices()[0]).toContain('<result>the first answer\n\nthe second answer</result>')
  expect(noticeTurns()).toHaveLength(1)
})

test('a continued task starts its next run in its session, through the queue, with a new notice', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, host, manager, launch, answer, notices } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  const other = await launch('other')
  await clock.advance(100)
  expect(await manager.continue(id, 'more', { description: 'go on' })).toMatchObject({
    status: 'pending',
    run: 2,
    sessionID,
    description: 'go on',
  })
  expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'pending', run: 2 } })
  answer('other')
  answer('more', { text: 'and more' })
  await clock.advance(1000)
  expect(manager.get(other.id)?.status).toBe('completed')
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
  expect(prompts(stage, sessionID)).toEqual(['work', 'more'])
  const own = notices().filter((text) => text.includes(id))
  expect(own).toHaveLength(2)
  expect(own[1]).toMatch(/run="2"[\s\S]*<result>and more<\/result>/)
  expect(own[1]).not.toContain('result of work')
  expect(host.session(sessionID).metadata).toMatchObject({ background: { status: 'completed', run: 2 } })
})

test('a continued task gets its first prompt again only if its model never received it', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, host, manager, launch, answer } = stage
  host.failNext('prompt')
  const failed = await launch('failed')
  await clock.advance(100)
  const heard = await launch('heard')
  const pending = await launch('pending')
  await clock.advance(100)
  await manager.cancel(pending.id)
  answer('heard', { status: 400, text: 'bad request' })
  await clock.advance(1000)
  const tasks = [failed, heard, pending]
  expect(tasks.map(({ id }) => manager.get(id)?.status)).toEqual(['failed', 'failed', 'cancelled'])
  for (const { id } of tasks) await manager.continue(id, 'more')
  for (const prompt of ['failed\n\nmore', 'more', 'pending\n\nmore']) answer(prompt)
  await clock.advance(10_000)
  expect(tasks.map(({ id }) => manager.get(id))).toMatchObject([{ run: 2 }, { run: 2 }, { run: 2 }])
  expect(tasks.map(({ sessionID }) => prompts(stage, sessionID))).toEqual([
    ['failed\n\nmore'],
    ['heard', 'more'],
    ['pending\n\nmore'],
  ])
})

test('the next run repeats the unread prompt of the last one, even if earlier runs were answered', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch, answer } = stage
  const { id, sessionID } = await launch('first')
  await clock.advance(100)
  answer('first')
  await clock.advance(1000)
  host.failNext('prompt')
  await manager.continue(id, 'second')
  await clock.advance(1000)
  expect(manager.get(id)).toMatchObject({ run: 2, status: 'failed' })
  await manager.continue(id, 'third')
  await clock.advance(100)
  expect(prompts(stage, sessionID)).toEqual(['first', 'second\n\nthird'])
})

test('two concurrent prompts to a task with an unread prompt all arrive, although a run ends in between', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, host, manager, launch, answer } = stage
  await launch('other')
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  await manager.cancel(id)
  const delays = [0, 3000]
  host.latencyMs = () => delays.shift() ?? 0
  const slow = manager.continue(id, 'slow')
  await clock.advance(1)
  expect(await manager.continue(id, 'fast')).toMatchObject({ run: 2, prompt: 'work\n\nfast' })
  await manager.cancel(id)
  await clock.advance(4000)
  await slow
  answer('other')
  await clock.advance(1000)
  expect(prompts(stage, sessionID)).toEqual(['work\n\nfast\n\nslow'])
})

test('an answer to a steering prompt does not prove that the first prompt was read', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch, answer } = stage
  host.hangNext('prompt')
  host.hangNext('prompt')
  const { id, sessionID } = await launch('work')
  await clock.advance(5000)
  const steered = manager.continue(id, 'steer')
  await clock.advance(26_000)
  await steered
  answer('steer')
  await clock.advance(5000)
  expect(manager.get(id)).toMatchObject({ status: 'completed', prompt: 'work' })
  await manager.continue(id, 'more')
  await clock.advance(100)
  expect(prompts(stage, sessionID)).toEqual(['steer', 'work\n\nmore'])
})

test('a prompt that reached a failed run is not repeated after the next run was cancelled', async () => {
  const stage = createFakeStage({ concurrency: { total: 1 } })
  const { clock, host, manager, launch, answer } = stage
  const { id, sessionID } = await launch('work')
  await launch('other')
  await clock.advance(100)
  // The record is written first.
  const delays = [0, 3000]
  host.latencyMs = () => delays.shift() ?? 0
  const steered = manager.continue(id, 'steer')
  answer('work', { status: 400, text: 'bad request' })
  await clock.advance(10_000)
  expect(await steered).toMatchObject({ run: 2, status: 'pending' })
  await manager.cancel(id)
  await manager.continue(id, 'more')
  answer('other')
  await clock.advance(1000)
  expect(prompts(stage, sessionID)).toEqual(['work', 'steer', 'more'])
})

test('a prompt at any moment around the end of a task: notices report each answer once', async () => {
  for (let lead = -12; lead <= 40; lead += 1) {
    const { clock, manager, launch, answer, notices } = createFakeStage()
    const { id } = await launch('work')
    await clock.advance(100)
    if (lead >= 0) answer('work')
    await clock.advance(Math.abs(lead))
    answer('more', { text: 'and more' })
    const continued = manager.continue(id, 'more')
    if (lead < 0) answer('work')
    await clock.advance(20_000)
    await continued
    const told = notices().join('\n')
    expect(told.match(/result of work/g), `lead ${lead}`).toHaveLength(1)
    expect(told.match(/and more/g), `lead ${lead}`).toHaveLength(1)
    expect(manager.get(id)?.status).toBe('completed')
  }
})

test('of two concurrent continues of an ended task, one starts the next run and the other joins it', async () => {
  const stage = createFakeStage()
  const { clock, manager, launch, answer, notices } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  const both = Promise.all([manager.continue(id, 'left'), manager.continue(id, 'right')])
  await clock.advance(1000)
  expect((await both).map(({ run }) => run)).toEqual([2, 2])
  for (const prompt of ['left', 'right', 'left\n\nright', 'right\n\nleft']) answer(prompt)
  await clock.advance(10_000)
  expect(prompts(stage, sessionID).join('\n')).toMatch(/left[\s\S]*right/)
  expect(notices()).toHaveLength(2)
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
})

test('a prompt queued behind a failing turn does not keep the task from failing', async () => {
  const { clock, manager, launch, answer, notices } = createFakeStage()
  const { id } = await launch('work')
  await clock.advance(100)
  await manager.continue(id, 'steer')
  await clock.advance(100)
  answer('work', { status: 400, text: 'bad request' })
  await clock.advance(10_000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { message: 'bad request' } })
  expect(notices()).toHaveLength(1)
})

test('continue rejects for a task with a deleted session, and the error says what to do', async () => {
  const { clock, host, manager, launch, answer } = createFakeStage()
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  host.deleteSession(sessionID)
  await expect(manager.continue(id, 'more')).rejects.toThrow('Start a new task')
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 1 })
})

test('continue rejects when OpenCode refuses the prompt, and the running task is not affected', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage()
  const { id } = await launch('work')
  await clock.advance(100)
  host.failNext('prompt')
  await expect(manager.continue(id, 'steer')).rejects.toThrow('Try again')
  answer('work')
  await clock.advance(5000)
  expect(notices()).toHaveLength(1)
})

test('a continued task counts against the limit of its parent', async () => {
  const { clock, manager, launch, answer } = createFakeStage({ maxTasksPerSession: 1 })
  const { id } = await launch('work')
  await clock.advance(100)
  answer('work')
  await clock.advance(1000)
  await launch('other')
  await expect(manager.continue(id, 'more')).rejects.toThrow('its limit')
})

test('several concurrent prompts to a running task all arrive', async () => {
  const stage = createFakeStage()
  const { clock, manager, launch } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  await Promise.all(['one', 'two', 'three'].map((hint) => manager.continue(id, hint)))
  await clock.advance(1000)
  expect(prompts(stage, sessionID)).toEqual(['work', 'one', 'two', 'three'])
})

/** Delays OpenCode's answers to prompts of a session. */
function delayAnswers({ clock, host }: FakeStage, sessionID: string, delayMs: number): void {
  const prompt = host.opencode.prompt.bind(host.opencode)
  host.opencode.prompt = async (asked, sent) => {
    await prompt(asked, sent)
    if (asked === sessionID) await new Promise<void>((resolve) => clock.after(delayMs, resolve))
  }
}

test('two prompts at any moment around the end of a task: notices report each answer once', async () => {
  for (let lead = 0; lead <= 40; lead += 2) {
    const stage = createFakeStage()
    const { clock, host, manager, launch, answer, notices } = stage
    const { id, sessionID } = await launch('work')
    await clock.advance(100)
    answer('work')
    answer('more A', { text: 'answer A' })
    answer('more B', { text: 'answer B' })
    delayAnswers(stage, sessionID, 15)
    await clock.advance(lead)
    const first = manager.continue(id, 'more A')
    await clock.advance(12)
    const second = manager.continue(id, 'more B')
    await clock.advance(200_000)
    await Promise.all([first, second])
    const said = host
      .messagesOf(sessionID)
      .flatMap(({ info, parts }) =>
        info.role === 'assistant' ? parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])) : [],
      )
    const told = notices().join('\n')
    for (const text of said) expect(told.split(text), `lead ${lead}: ${text}`).toHaveLength(2)
  }
})

test('a prompt to a task that is being cancelled starts its next run after the cancel', async () => {
  for (let lead = 0; lead <= 12; lead += 1) {
    const stage = createFakeStage()
    const { clock, host, manager, launch, answer, notices } = stage
    const { id, sessionID } = await launch('work')
    await clock.advance(100)
    host.latencyMs = () => 5
    const cancelled = manager.cancel(id)
    await clock.advance(lead)
    const continued = manager.continue(id, 'and now this')
    await clock.advance(5000)
    expect(await cancelled, `lead ${lead}`).toMatchObject({ status: 'cancelled', run: 1 })
    expect(await continued, `lead ${lead}`).toMatchObject({ run: 2 })
    expect(prompts(stage, sessionID), `lead ${lead}`).toEqual(['work', 'and now this'])
    answer('and now this', { text: 'done after all' })
    await clock.advance(10_000)
    expect(notices().join('\n'), `lead ${lead}`).toContain('done after all')
  }
})

test('a task that is cancelled during a prompt stays cancelled, and nothing of it runs on', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  delayAnswers(stage, sessionID, 4000)
  const refused = manager.continue(id, 'more').catch((error: unknown) => error)
  await clock.advance(1)
  const cancelled = manager.cancel(id)
  await clock.advance(10_000)
  expect(await cancelled).toMatchObject({ status: 'cancelled' })
  expect(await refused).toHaveProperty('message', expect.stringContaining('was cancelled meanwhile'))
  expect(manager.get(id)).toMatchObject({ status: 'cancelled', run: 1 })
  expect(host.modelRequests.filter(({ outcome }) => outcome === 'open')).toEqual([])
})

test('a launch with a model that is named like a property of every object is refused', async () => {
  const { manager, parentID } = createFakeStage()
  const request = { parentID, agent: 'general', prompt: 'p', description: 'd', model: 'mock/constructor' }
  await expect(manager.launch(request)).rejects.toThrow('There is no model')
})

test('a prompt that arrives after the task has failed starts the next run, within the limit', async () => {
  const { clock, host, manager, launch, answer, notices } = createFakeStage({ concurrency: { total: 1 } })
  const { id, sessionID } = await launch('work')
  await launch('other')
  await clock.advance(100)
  host.latencyMs = () => 4000
  const continued = manager.continue(id, 'more')
  host.latencyMs = () => 0
  answer('work', { status: 400, text: 'bad' })
  await clock.advance(3000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', run: 1 })
  await clock.advance(10_000)
  expect(await continued).toMatchObject({ status: 'pending', run: 2 })
  // The other task has the only slot, so that no other child may be at work.
  const open = host.modelRequests.filter(({ outcome }) => outcome === 'open')
  expect(open.map((request) => request.sessionID)).not.toContain(sessionID)
  answer('more', { text: 'heard' })
  answer('other')
  await clock.advance(10_000)
  expect(manager.get(id)).toMatchObject({ status: 'completed', run: 2 })
  expect(notices().join('\n')).toContain('<result>heard</result>')
})

test('a prompt while the instance ends starts no run, so that the record of the end stays', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch, parentID } = stage
  const { id, sessionID } = await launch('work')
  await clock.advance(100)
  delayAnswers(stage, sessionID, 50)
  const refused = manager.continue(id, 'more').catch((error: unknown) => error)
  await clock.advance(1)
  await stage.restart(3)
  await clock.advance(10_000)
  expect(await refused).toHaveProperty('message', expect.stringContaining('was interrupted: OpenCode ends'))
  expect(host.session(sessionID).metadata).toMatchObject({ background: { run: 1, status: 'failed' } })
  host.userPrompt(parentID, 'well')
  await clock.advance(1000)
  expect(stage.notices()).toHaveLength(1)
})

test('a prompt without an answer of OpenCode is not sent again after the task has ended', async () => {
  const stage = createFakeStage()
  const { clock, host, manager, launch } = stage
  const { id } = await launch('work')
  await clock.advance(100)
  host.hangNext('prompt')
  const refused = manager.continue(id, 'more').catch((error: unknown) => error)
  await clock.advance(1)
  const { calls } = await stage.restart(3)
  await clock.advance(60_000)
  expect(await refused).toBeInstanceOf(Error)
  expect(calls).not.toContain('prompt')
})

test('the list sums the usage of all runs of a task, also after a restart', async () => {
  const stage = createFakeStage()
  const { clock, host, crash, launch, answer, parentID } = stage
  const list = () => callOf(stage, listBackground)
  const { id } = await launch('run 1')
  await clock.advance(100)
  answer('run 1')
  await clock.advance(1000)
  for (let run = 2; run <= 12; run += 1) {
    void stage.manager.continue(id, `run ${run}`)
    await clock.advance(100)
    answer(`run ${run}`)
    await clock.advance(1000)
  }
  // Each run uses 15 tokens.
  const counted = `Ended runs: ${12 * 15} tokens`
  expect(await list()).toContain(counted)
  crash()
  await clock.advance(1000)
  host.userPrompt(parentID, 'hello again')
  await clock.advance(1000)
  expect(await list()).toContain(counted)
})
