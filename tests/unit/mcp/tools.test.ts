import { expect, test } from 'vitest'
import { offersOf } from '../../../src/mcp/tools.ts'
import { waitGuidance } from '../../../src/mcp/wait-guidance.ts'
import type { McpCaller, Workplace } from '../../../src/mcp/workplace.ts'
import { toolNames } from '../../../src/tool-names.ts'

/** A workplace without tasks, which adds its name to `cancelled` when all of its tasks are cancelled. */
function workplace(name: string, cancelled: string[]): Workplace {
  const names = toolNames('')
  const manager = {
    toolNames: names,
    places: [],
    commands: { enabled: true, timeoutMs: 0 },
    recover: () => Promise.resolve(),
    get: () => undefined,
    findBySession: () => undefined,
    others: () => [],
    forkedFrom: () => Promise.resolve(undefined),
    list: () => [],
    cancelAll: () => {
      cancelled.push(name)
      return Promise.resolve(0)
    },
  }
  return {
    manager,
    guidance: waitGuidance(names, 'agents'),
    parentID: () => Promise.resolve(`ses_${name}`),
    rules: () => Promise.resolve([]),
  } as unknown as Workplace
}

test.each([{ all: true }, { task_id: 'all' }, { task_id: 'ALL' }])(
  'background_cancel with %j stops agents and commands',
  async (args) => {
    const cancelled: string[] = []
    const offers = offersOf(workplace('commands', cancelled), workplace('agents', cancelled))
    const offer = offers.find(({ definition }) => definition.name === 'background_cancel')
    await offer?.call(args, { client: 'tests', askBy: () => async () => {} } as unknown as McpCaller)
    expect(cancelled.toSorted()).toEqual(['agents', 'commands'])
  },
)
