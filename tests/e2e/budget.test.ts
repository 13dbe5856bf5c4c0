import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Reply, Script } from '../harness/script.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'

/** Ten cents for each hundred tokens that a model reads. */
const PRICES = { input: 1000, output: 0 }
const TOLD = '[Automatic notice, not from the user.'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ cost: PRICES })
})
afterAll(() => stage.close())

/** A step that costs ten cents, and calls a tool. */
const STEP: Reply = {
  text: 'partial work',
  tools: [{ name: 'glob', args: { pattern: 'nothing' } }],
  promptTokens: 100,
}

/** Takes this many steps, then waits until its session holds a message about its budget. Finishes when its model is told. */
const obedient = (steps: number): Script => {
  let taken = 0
  return async ({ messages }) => {
    if (messages.some(({ content }) => content.startsWith(TOLD))) return { text: 'the rest is missing' }
    taken += 1
    if (taken > steps) await messageAbout('budget')
    return STEP
  }
}

/** Resolves when OpenCode has stored a message to an agent with this text. */
const messageAbout = (text: string): Promise<unknown> =>
  stage.server.events.waitFor(
    ({ type, properties }) =>
      type === 'message.part.updated' &&
      properties.part.type === 'text' &&
      properties.part.text.startsWith(TOLD) &&
      properties.part.text.includes(text),
    { description: `a message about ${text}` },
  )

/** Works on whatever its model is told. */
const stubborn: Script = () => STEP

const idIn = (answer = ''): string => /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer

/** Returns the messages about a budget that the children's models have read, by session. */
function told(parent: Parent): Map<string, Set<string>> {
  const texts = new Map<string, Set<string>>()
  for (const { sessionID, messages } of parent.childRequests) {
    const found = messages.filter(({ content }) => content.startsWith(TOLD)).map(({ content }) => content)
    texts.set(sessionID, new Set([...(texts.get(sessionID) ?? []), ...found]))
  }
  return texts
}

test('at 80 % the message to finish reaches the model of the child, whose answer is the result', async () => {
  const parent = await stage.parent(obedient(8))
  const [answer] = await parent.call([backgroundTask('count', { budget: { cost: 1 } })])
  expect(answer).toContain('budget: $0 of $1.00')
  await parent.waitForNotice('the rest is missing')
  expect([...told(parent).values()].map((texts) => [...texts])).toEqual([
    [expect.stringContaining('80 % of $1.00')],
  ])
  expect(parent.noticeText).toContain('status="completed"')
})

test('at 100 % it ends as failed with its work so far, and continues only with a further budget', async () => {
  const parent = await stage.parent(stubborn)
  const [answer] = await parent.call([backgroundTask('count', { budget: '{"tool_calls":"3"}' })])
  const id = idIn(answer)
  await parent.waitForNotice('<partial>partial work</partial>')
  expect(parent.noticeText).toContain('it has spent its budget, 3 tool calls of 3 tool calls')
  await parent.quiet()
  const [output] = await parent.call([{ name: 'background_output', args: { task_id: id } }])
  expect(output).toContain('reason: budget')
  expect(output).toContain('budget: 3 tool calls of 3 tool calls')
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain('❌ error: budget, 100 % of 3 tool calls')
  const more = (budget?: object) => ({
    name: 'background_task',
    args: { task_id: id, prompt: 'go on', ...(budget && { budget }) },
  })
  const [refused] = await parent.call([more()])
  expect(refused).toContain(
    `${id} has spent its budget: 3 tool calls of 3 tool calls. Continue it with a budget`,
  )
  const [bad] = await parent.call([more({ toolCalls: 0 })])
  expect(bad).toContain('budget.toolCalls: must be a number above 0')
  const [continued] = await parent.call([more({ toolCalls: 2 })])
  expect(continued).toContain('budget: 3 tool calls of 5 tool calls')
  await parent.waitForNotice('5 tool calls of 5 tool calls')
  await parent.quiet()
  expect(parent.childRequests.length).toBeGreaterThanOrEqual(5)
})
