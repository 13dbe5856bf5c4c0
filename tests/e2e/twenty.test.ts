/** Twenty more of what people ran into, from public reports of 2026: inputs from real life, on the real OpenCode. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { READ } from '../harness/replies.ts'
import { backgroundTask, startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({
    options: { pollMs: 1000 },
    config: { experimental: { primary_tools: ['webfetch'] } },
    agents: {
      '\u200BHelper - Of Many': { mode: 'subagent', description: 'Has a name that begins unseen.' },
      brief: { mode: 'subagent', description: 'Takes two steps.', steps: 2 },
    },
  })
})
afterAll(() => stage.close())

test('an agent that has used up its steps is told as incomplete', async () => {
  const isLast = (content = ''): boolean => content.includes('MAXIMUM STEPS REACHED')
  const parent = await stage.parent(({ messages }) =>
    isLast(messages.at(-1)?.content) ? { text: 'I got half of it.' } : READ,
  )
  await parent.call([backgroundTask('read all', { agent: 'brief' })])
  await parent.waitForNotice("It used up its agent's steps, and was told to stop:")
  expect(parent.noticeText).toContain('<partial>I got half of it.</partial>')
})

test('a child has none of the tools that the user keeps for primary agents', async () => {
  const parent = await stage.parent()
  await parent.launch('look')
  await parent.waitForNotice('done')
  expect(parent.requests[0]?.tools).toContain('webfetch')
  expect(parent.childRequests[0]?.tools).toContain('read')
  expect(parent.childRequests[0]?.tools).not.toContain('webfetch')
})

test('an agent is found though its name begins with characters that nobody sees', async () => {
  const parent = await stage.parent()
  for (const agent of ['Helper - Of Many', 'helper-of-many']) {
    const [launched] = await parent.call([backgroundTask('help', { agent })])
    expect(launched).toContain('status: running')
  }
  await parent.quiet()
  expect(parent.childRequests).toHaveLength(2)
})

test('a model is found by what alone is like its name, and inherit is the usual one', async () => {
  const parent = await stage.parent()
  for (const model of ['inherit', 'm2', 'MOCK/M2']) {
    const [launched] = await parent.call([backgroundTask('think', { model })])
    expect(launched).toContain('status: running')
  }
  await parent.quiet()
  expect(parent.childRequests.map(({ model }) => model).toSorted()).toEqual(['m1', 'm2', 'm2'])
})
