import { expect, test } from 'vitest'
import { listJSON, listSchema, taskJSON } from '../../../src/mcp/structured-content.ts'
import type { BudgetUse } from '../../../src/task/budget-use.ts'
import { pendingTask } from '../../harness/tasks.ts'

const BUDGET: BudgetUse = {
  budget: { cost: 1, toolCalls: 10 },
  spent: { cost: 0.25, tokens: 500, toolCalls: 4, minutes: 1.5 },
}
const BUDGET_JSON = {
  limits: { cost_usd: 1, tool_calls: 10 },
  used: { cost_usd: 0.25, tokens: 500, tool_calls: 4, minutes: 1.5 },
}

test('a task names the tasks for which it waits, and its budget with what is used', () => {
  expect(taskJSON({ ...pendingTask(), after: ['bg_00000001'] }, 'waits', BUDGET)).toMatchObject({
    status: 'pending',
    note: 'waits',
    after: ['bg_00000001'],
    budget: BUDGET_JSON,
  })
  expect(taskJSON(pendingTask())).not.toHaveProperty('budget')
  expect(taskJSON(pendingTask())).not.toHaveProperty('after')
})

test('a list has the budget of the session beside those of the tasks', () => {
  const list = listJSON({
    counts: { running: 1, done: 0, error: 0 },
    shown: [{ task: pendingTask(), note: undefined, budget: BUDGET }],
    at: 0,
    used: { toolCalls: 0, tokens: 0, cost: 0 },
    budget: BUDGET,
    others: [],
    origin: undefined,
    problems: [],
  })
  expect(listSchema.parse(list)).toMatchObject({ tasks: [{ budget: BUDGET_JSON }], budget: BUDGET_JSON })
})
