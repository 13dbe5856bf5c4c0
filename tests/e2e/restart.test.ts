import { afterAll, beforeAll, expect, test } from 'vitest'
import { acrossKill } from '../harness/across-kill.ts'
import { heldReply, inOrder, never, READ } from '../harness/replies.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  const writer = { mode: 'subagent', description: 'Writes.', prompt: 'You write.' }
  stage = await startStage({ options: { concurrency: { total: 2 }, pollMs: 1000 }, agents: { writer } })
})
afterAll(() => stage.close())

/** Expects the texts in the turn of the next user message, each once, and no new ones in the turn after. */
async function expectTold(parent: Parent, ...texts: readonly string[]): Promise<void> {
  const before = parent.requests.length
  await parent.say('where were we')
  expect(parent.requests).toHaveLength(before + 1)
  await parent.say('thanks')
  expect(parent.requests).toHaveLength(before + 2)
  for (const text of texts) expect(parent.noticeText.split(text)).toHaveLength(2)
}

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'after %s running tasks are reported interrupted and queued ones not started, with known ids',
  async (signal) => {
    const parent = await stage.parent(({ messages }) => {
      const asked = messages.findLast(({ role }) => role === 'user')?.content
      if (messages.at(-1)?.role !== 'tool') return { ...READ, text: `I look into ${asked}.` }
      return never()
    })
    const ids = await parent.launchInTurn('alpha', 'beta', 'gamma')
    await stage.model.waitForRequest(() => parent.childRequests.length === 4)
    const asked = stage.model.requests.length
    await stage.restart(signal)
    await stage.pass(60_000)
    // The plugin starts and wakes nothing by itself.
    expect(stage.model.requests).toHaveLength(asked)
    await expectTold(
      parent,
      `id="${ids[0]}" run="1" agent="general" status="failed"`,
      'I look into alpha.',
      `id="${ids[1]}" run="1" agent="general" status="failed"`,
      'I look into beta.',
      `id="${ids[2]}" run="1" agent="general" status="failed"`,
      'OpenCode stopped before the task had started',
    )
    const [list, output] = await parent.call([
      { name: 'list_background', args: {} },
      { name: 'background_output', args: { task_id: ids[0] } },
    ])
    for (const id of ids) expect(list).toContain(`${id}\` | ❌ error: interrupted`)
    expect(output).toContain('I look into alpha.')
  },
)

acrossKill(() => stage, {
  'a task of an agent that the configuration defines is known after a kill': isKnown,
  'a message continues a task after a kill, with its earlier conversation': isContinued,
})

async function isKnown(): Promise<() => Promise<void>> {
  const parent = await stage.parent(() => ({ text: 'the page is written' }))
  const [answer = ''] = await parent.call([backgroundTask('write a page', { agent: 'writer' })])
  const task_id = /bg_[0-9a-f]{8}/.exec(answer)?.[0]
  await parent.waitForNotice('the page is written')
  await parent.quiet()
  return async () => {
    const [output] = await parent.call([{ name: 'background_output', args: { task_id } }])
    expect(output).toContain('the page is written')
  }
}

async function isContinued(): Promise<() => Promise<void>> {
  const parent = await stage.parent(
    inOrder({ ...READ, text: 'The first half.' }, never(), { text: 'The second half.' }),
  )
  const [id] = await parent.launch('do both halves')
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  return async () => {
    const [answer] = await parent.call([{ name: 'background_task', args: { task_id: id, prompt: 'go on' } }])
    expect(answer).toContain('run: 2, in the same session')
    await parent.waitForNotice('The second half.')
    await parent.quiet()
    const last = parent.childRequests.at(-1)
    expect(last?.sessionID).toBe(parent.childRequests[0]?.sessionID)
    expect(last?.messages.map(({ content }) => content)).toContain('The first half.')
    expect(parent.noticeText).toMatch(/run="1"[\s\S]*run="2"/)
  }
}

test('each of two processes reports its own tasks, and adopts those of the other when that is dead', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(({ messages }) => (messages.at(-1)?.content === 'mine' ? reply : never()))
  const [mine] = await parent.launch('mine')
  await stage.model.waitForRequest(() => parent.childRequests.length === 1)
  await parent.quietBesidesChildren()
  const other = await stage.second()
  try {
    // A message through the other process does not adopt the task.
    await other.prompt(parent.id, 'hello from the other side')
    await stage.model.waitForRequest(
      () => parent.requests.at(-1)?.messages.at(-1)?.content === 'hello from the other side',
    )
    expect(parent.noticeText).toBe('')
    await other.prompt(parent.id, 'CALL [{ "name": "list_background", "args": {} }] END')
    const listed = await stage.model.waitForRequest(
      ({ sessionID, messages }) => sessionID === parent.id && messages.at(-1)?.role === 'tool',
      { from: stage.model.requests.length - 1 },
    )
    expect(listed.messages.at(-1)?.content).toContain(`\`${mine}\` (mine) is run by another process (pid `)
    await other.waitForIdle(parent.id)
    release({ text: 'told by its own' })
    await parent.waitForNotice('told by its own')
    await parent.quiet()
    // Both processes ask the model now, so the newest request need not contain the notice.
    const stored = (await stage.server.messages(parent.id)).flatMap(({ parts }) => parts)
    const told = stored.filter((part) => part.type === 'text' && part.text.includes('told by its own'))
    expect(told).toHaveLength(1)
    const [left] = await parent.launch('left')
    await stage.model.waitForRequest(() => parent.childRequests.length === 2)
    await parent.quietBesidesChildren()
    await stage.server.stop({ signal: 'SIGKILL', keepHome: true })
    for (const text of ['is anybody there', 'and now']) {
      await other.prompt(parent.id, text)
      await stage.model.waitForRequest(
        () => parent.requests.at(-1)?.messages.at(-1)?.content.startsWith(text) === true,
      )
      await other.waitForIdle(parent.id)
    }
    expect(parent.noticeText.match(new RegExp(`id="${left}"`, 'g'))).toHaveLength(1)
    expect(parent.noticeText.match(new RegExp(`id="${mine}"`, 'g'))).toHaveLength(1)
  } finally {
    await other.stop({ keepHome: true })
    await stage.restart('SIGKILL')
  }
})
