/** Twenty more of what people ran into, from public reports of 2026: inputs from real life, on the real OpenCode. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { READ } from '../harness/replies.ts'
import { backgroundTask, startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({
    options: { pollMs: 1000 },
    config: { experimental: { primary_tools: ['webfetch'] } },
    agents: { brief: { mode: 'subagent', description: 'Takes two steps.', steps: 2 } },
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
