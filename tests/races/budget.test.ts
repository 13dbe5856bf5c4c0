import { expect, test } from 'vitest'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'
import type { Budget } from '../../src/task/task.ts'
import type { Reply } from '../harness/script.ts'

/** How long each step of a child takes. */
const STEP_MS = 1000
const TOLD = '[Automatic notice, not from the user.'
const STEP: Reply = { text: 'partial work', tools: [{ name: 'bash', args: {} }], cost: 0.4 }

/** Creates a stage whose children take a step each second, and stop by themselves only as `reply` decides. */
function stepping(options: object = {}, reply: (told: readonly string[]) => Reply = () => STEP): FakeStage {
  const stage = createFakeStage(options)
  const { clock, host, parentID } = stage
  host.script = async ({ sessionID, messages }) => {
    if (sessionID === parentID) return { text: 'Noted.' }
    await new Promise<void>((resolve) => clock.after(STEP_MS, resolve))
    return reply(messages.filter(({ content }) => content.startsWith(TOLD)).map(({ content }) => content))
  }
  return stage
}

const launch = ({ manager, parentID }: FakeStage, budget?: Budget, description = 'work') =>
  manager.launch({ parentID, agent: 'general', prompt: description, description, budget })

/** Returns the messages about a budget that the session of a task holds. */
const toldIn = ({ host, manager }: FakeStage, id: string): string[] =>
  host
    .messagesOf(manager.get(id)?.sessionID ?? '')
    .flatMap(({ parts }) =>
      parts.flatMap((part) => (part.type === 'text' && part.text.startsWith(TOLD) ? [part.text] : [])),
    )

test('at 80 % of its budget a child is told once to finish, and its answer completes it', async () => {
  const stage = stepping({}, (told) =>
    told.length > 0 ? { text: 'the rest is missing' } : { ...STEP, cost: 0.1 },
  )
  const { clock, manager } = stage
  const { id } = await launch(stage, { cost: 1 })
  await clock.advance(20_000)
  expect(manager.get(id)).toMatchObject({ status: 'completed' })
  expect(toldIn(stage, id)).toEqual([expect.stringContaining('80 % of $1.00')])
  expect(stage.notices().join()).toContain('the rest is missing')
})

test('at 100 % a child is stopped with its work so far, and continues only with a further budget', async () => {
  const stage = stepping()
  const { clock, manager } = stage
  const { id } = await launch(stage, { cost: 1 })
  await clock.advance(20_000)
  expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'budget' } })
  expect(await manager.budget(id)).toMatchObject({
    spent: { cost: expect.closeTo(1.2) as number, toolCalls: 3 },
  })
  expect(toldIn(stage, id)).toHaveLength(1)
  expect(stage.notices()).toEqual([expect.stringContaining('<partial>partial work</partial>')])
  await expect(manager.continue(id, 'go on')).rejects.toThrow('$1.20 of $1.00')
  await expect(manager.continue(id, 'go on', { budget: { cost: 0.2 } })).rejects.toThrow('$1.20 of $1.20')
  await manager.continue(id, 'go on', { budget: { cost: 1 } })
  expect(await manager.budget(id)).toMatchObject({ budget: { cost: 2 } })
  await clock.advance(20_000)
  expect(manager.get(id)).toMatchObject({ run: 2, status: 'failed', failure: { reason: 'budget' } })
  expect((await manager.budget(id))?.spent.cost).toBeCloseTo(2)
  expect(toldIn(stage, id)).toHaveLength(2)
})

test('two children that spend the budget of their session in one tick each end once', async () => {
  const stage = stepping({ budget: { session: { cost: 1 } } })
  const { clock, manager, parentID } = stage
  // Both steps have ended before a stop takes effect.
  stage.host.latencyMs = () => 30
  const launches = Promise.all(['one', 'two'].map((name) => launch(stage, undefined, name)))
  await stage.clock.advance(200)
  const tasks = await launches
  await clock.advance(20_000)
  for (const { id } of tasks) {
    expect(manager.get(id)).toMatchObject({ status: 'failed', failure: { reason: 'budget' } })
    expect(toldIn(stage, id)).toHaveLength(1)
    expect(stage.steps.filter((step) => step.startsWith(`${id}: failed`))).toHaveLength(1)
    expect(stage.notices().join().split(`id="${id}"`)).toHaveLength(2)
  }
  expect((await manager.sessionBudget(parentID))?.spent.cost).toBeCloseTo(1.6)
  await expect(launch(stage)).rejects.toThrow(/\$1\.60 of \$1\.00.*bg_\w+ \(\$0\.80\), bg_\w+ \(\$0\.80\)/)
  await expect(manager.continue(tasks[0]?.id ?? '', 'on')).rejects.toThrow('$1.60 of $1.00')
})
