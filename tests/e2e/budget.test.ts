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

/** Works on whatever its model is told, until the budget must have stopped it, and waits then: a stop under load comes late. */
const stopsAt =
  (steps: number, stepsOnceContinued: number): Script =>
  ({ messages }) => {
    const taken = messages.filter(({ role }) => role === 'tool').length
    const isContinued = messages.some(({ role, content }) => role === 'user' && content.includes('go on'))
    return taken < (isContinued ? stepsOnceContinued : steps) ? STEP : new Promise<Reply>(() => {})
  }

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
  const parent = await stage.parent(stopsAt(3, 5))
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

test('when the budget of a session is spent, its children end once each, and a launch is refused', async () => {
  const project = stage.project({ options: { budget: { session: { tokens: 1000 } } } })
  // Twelve steps of both together at most: the tenth spends the budget.
  const parent = await stage.parent(stopsAt(6, 6), {}, project)
  const answers = await parent.call([backgroundTask('one'), backgroundTask('two')])
  const ids = answers.map(idIn)
  // The notice of the first one names the other among what has spent the budget.
  for (const id of ids) await parent.waitForNotice(`id="${id}"`)
  await parent.quiet()
  for (const id of ids) expect(parent.noticeText.split(`id="${id}"`)).toHaveLength(2)
  expect(parent.noticeText).toMatch(/have spent the budget of the session, 1\.\dk tokens of 1\.0k tokens/)
  expect(parent.noticeText).toContain('<partial>partial work</partial>')
  const [refused] = await parent.call([backgroundTask('three')])
  expect(refused).toMatch(/The tasks of this session have spent its budget: 1\.\dk tokens of 1\.0k tokens/)
  expect(refused).toMatch(/Most of it: bg_\w+ \(\d+ tokens\), bg_\w+ \(\d+ tokens\)/)
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toMatch(/Budget of the session: 1\.\dk tokens of 1\.0k tokens/)
  expect(list).toContain('(2 total)')
})

test('the answer to a launch says where a model has no prices, so that its cost cannot be limited', async () => {
  const unpriced = { provider: { mock: { models: { m2: { cost: { input: 0, output: 0 } } } } } }
  const project = stage.project({ config: unpriced })
  const parent = await stage.parent(() => ({ text: 'done' }), {}, project)
  const budget = { cost: 1, tokens: 5000 }
  const [free, priced] = await parent.call([
    backgroundTask('free', { budget, model: 'mock/m2' }),
    backgroundTask('priced', { budget, model: 'mock/m1' }),
  ])
  expect(free).toContain('OpenCode knows no prices of mock/m2: its cost cannot be limited')
  expect(priced).not.toContain('no prices')
  await parent.waitForNotice(idIn(free))
  await parent.waitForNotice(idIn(priced))
})

test('a budget that is none is refused, and nothing is launched', async () => {
  const parent = await stage.parent()
  const [zero, unknown, number] = await parent.call([
    backgroundTask('x', { budget: { cost: 0 } }),
    backgroundTask('x', { budget: { dollars: 1 } }),
    backgroundTask('x', { budget: 5 }),
  ])
  expect(zero).toContain('budget.cost: must be a number above 0. Omit it for no limit.')
  expect(unknown).toContain(
    'budget.dollars: there is no such argument; it has cost, tokens, toolCalls, minutes.',
  )
  expect(number).toContain('budget: Invalid input: expected object, received number.')
  const [list] = await parent.call([{ name: 'list_background', args: {} }])
  expect(list).toContain('(0 total)')
})

test('after a kill -9 between 80 % and 100 % the child continues, and is not told again', async () => {
  let taken = 0
  let isRestarted = false
  const parent = await stage.parent(() => {
    taken += 1
    if (!isRestarted) return taken > 9 ? new Promise<Reply>(() => {}) : STEP
    return taken === 1 ? STEP : { text: 'the rest is missing' }
  })
  const [answer] = await parent.call([backgroundTask('count', { budget: { cost: 1.05 } })])
  const id = idIn(answer)
  await messageAbout('$1.05')
  await parent.quietBesidesChildren()
  const sessionID = parent.childRequests[0]?.sessionID ?? ''
  await stage.restart('SIGKILL')
  taken = 0
  isRestarted = true
  await parent.say('where were we')
  expect(parent.noticeText).toContain('OpenCode stopped before the task had ended')
  await parent.call([{ name: 'background_task', args: { task_id: id, prompt: 'go on' } }])
  await parent.waitForNotice('the rest is missing')
  const stored = await stage.server.messages(sessionID)
  const messages = stored.filter(({ parts }) =>
    parts.some((part) => part.type === 'text' && part.text.startsWith(TOLD)),
  )
  expect(messages).toHaveLength(1)
})
