import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { never, READ } from '../harness/replies.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

const GO_ON = 'OpenCode was restarted while you worked.'
const GOES_ON = 'It goes on by itself as run'

beforeAll(async () => {
  stage = await startStage({
    options: {
      afterRestart: 'continue',
      concurrency: { models: { 'mock/m2': 1 }, commands: 1 },
      pollMs: 1000,
    },
  })
})
afterAll(() => stage.close())

/** The newest message of the user to the model of a child. */
const asked = ({ messages }: Parent['requests'][number]): string | undefined =>
  messages.findLast(({ role }) => role === 'user')?.content

test('after kill -9 agents go on with the next message, and a command that had not started does not', async () => {
  const parent = await stage.parent((request) => {
    const last = request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
    if (last.startsWith(GO_ON)) return { text: 'The rest is done.' }
    if (last === 'queued') return { text: 'Done in its turn.' }
    return request.messages.at(-1)?.role === 'tool' ? never() : { ...READ, text: 'I look first.' }
  })
  const agent = (name: string) => backgroundTask(name, { model: 'mock/m2' })
  const command = (line: string) => ({ name: 'run_background', args: { command: line, timeout: 0 } })
  // Calls of one step start in any order, and the second of each kind is to wait for the first.
  const first = await parent.call([agent('works'), command('sleep 600')])
  const second = await parent.call([agent('queued'), command('echo late')])
  const [works = '', sleeps = '', queued = '', unstarted = ''] = [...first, ...second].map(
    (text) => /bg_[0-9a-f]{8}/.exec(text)?.[0] ?? text,
  )
  await stage.model.waitForRequest(() => parent.childRequests.length === 2)
  await stage.restart('SIGKILL')
  const before = stage.model.requests.length
  await stage.pass(60_000)
  expect(stage.model.requests).toHaveLength(before)
  await parent.say('where were we')
  await parent.waitForNotice('The rest is done.')
  await parent.waitForNotice('Done in its turn.')
  await parent.quiet()
  const told = parent.noticeText
  for (const id of [works, queued]) {
    expect(told.match(new RegExp(`id="${id}" run="1" `, 'g'))).toHaveLength(1)
    expect(told.match(new RegExp(`id="${id}" run="2" asker="restart" `, 'g'))).toHaveLength(1)
  }
  expect(told.match(new RegExp(`${GOES_ON} 2`, 'g'))).toHaveLength(2)
  expect(told).toContain('<partial>I look first.</partial>')
  // The prompt that the session holds was not sent again, and the other was sent once.
  expect(parent.childRequests.map(asked).filter((text) => text === 'queued')).toHaveLength(1)
  const went = parent.childRequests.find((request) => asked(request)?.startsWith(GO_ON))
  expect(went?.messages.filter(({ content }) => content === 'works')).toHaveLength(1)
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain(`\`${unstarted}\` | ❌ error: interrupted`)
  expect(list).toContain(`\`${sleeps}\` | ⏳ running`)
  await parent.call([{ name: 'kill_background', args: { task_id: sleeps } }])
})

test('after three times kill -9 a task has gone on twice, and its notice says that it does no more', async () => {
  const parent = await stage.parent(() => never())
  const [id = ''] = await parent.launch('endless')
  await stage.model.waitForRequest(() => parent.childRequests.length === 1)
  for (const round of [2, 3]) {
    await stage.restart('SIGKILL')
    await parent.say(`round ${round}`)
    await stage.model.waitForRequest(() => parent.childRequests.length === round)
    expect(parent.noticeText).toContain(`${GOES_ON} ${round}`)
  }
  await stage.restart('SIGKILL')
  await parent.say('round 4')
  await stage.pass(60_000)
  expect(parent.childRequests).toHaveLength(3)
  expect(parent.noticeText).toContain('Restarts have cut it off too often')
  expect(parent.noticeText.match(new RegExp(`id="${id}"`, 'g'))).toHaveLength(3)
})

test('of two processes of OpenCode on one project, one continues what a third has left', async () => {
  const parent = await stage.parent(() => never())
  const [id = ''] = await parent.launch('shared')
  await stage.model.waitForRequest(() => parent.childRequests.length === 1)
  await parent.quietBesidesChildren()
  const other = await stage.second()
  try {
    await stage.restart('SIGKILL')
    // Both users write at the same moment.
    await Promise.all([stage.server.prompt(parent.id, 'here'), other.prompt(parent.id, 'there')])
    await stage.model.waitForRequest(() => parent.childRequests.length === 2)
    await Promise.all([stage.server.waitForIdle(parent.id), other.waitForIdle(parent.id)])
    await stage.pass(30_000)
    await sleep(2000)
    expect(parent.childRequests).toHaveLength(2)
    const stored = (await stage.server.messages(parent.id)).flatMap(({ parts }) => parts)
    const told = stored.filter((part) => part.type === 'text' && part.text.includes(`id="${id}" run="1"`))
    expect(told).toHaveLength(1)
    expect(told[0]).toMatchObject({ text: expect.stringContaining(GOES_ON) as string })
  } finally {
    await other.stop({ keepHome: true })
    await stage.restart('SIGKILL')
  }
})
