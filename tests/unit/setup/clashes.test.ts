import { expect, test } from 'vitest'
import { Clashes, type Definition } from '../../../src/setup/clashes.ts'
import type { ToolContext, ToolDefinition } from '@opencode-ai/plugin'

const NAME = 'background_output'
const args = { task_id: { description: 'Its id' }, block: { description: 'Wait' } }
const tool = {
  description: 'Look at a task.',
  args,
  execute: (input: unknown) => (input === 'fail' ? Promise.reject(new Error('no')) : Promise.resolve('ours')),
} as unknown as ToolDefinition

const ours = (changes: object = {}): Definition => ({
  description: tool.description,
  jsonSchema: { properties: args },
  ...changes,
})
const theirs = (): Definition => ({ description: 'Theirs.', jsonSchema: { properties: { task_id: {} } } })

function clashesOf(): { clashes: Clashes; reports: readonly string[] } {
  const reports: string[] = []
  return { clashes: new Clashes({ [NAME]: tool }, (problem) => reports.push(problem)), reports }
}

async function call(clashes: Clashes, callID: string, input: unknown = {}): Promise<void> {
  await clashes.tools[NAME]?.execute(input as never, { callID } as unknown as ToolContext)
}

test.for([
  ['that one', [ours, theirs]],
  ['ours', [theirs, ours]],
] as const)('R13: Clashes reports the later of two definitions of a name as used: %s', ([winner, order]) => {
  const { clashes, reports } = clashesOf()
  for (let turn = 0; turn < 3; turn += 1) {
    for (const make of order) expect(clashes.observeDefinition(NAME, make())).toBe(make === ours)
  }
  expect(reports).toEqual([
    `tool ${NAME}: another plugin or a tool file defines it too, and OpenCode uses ${winner}; ` +
      'the option toolPrefix renames ours',
  ])
})

test('R13: Clashes accepts a definition of ours that another plugin has rewritten', () => {
  const { clashes, reports } = clashesOf()
  expect(clashes.observeDefinition(NAME, ours({ description: 'In other words.' }))).toBe(true)
  expect(clashes.observeDefinition(NAME, ours({ jsonSchema: { properties: {} } }))).toBe(true)
  expect(clashes.observeDefinition('another_tool', theirs())).toBe(false)
  expect(reports).toEqual([])
})

test('R13: Clashes reports once that another tool of our name answered a call', async () => {
  const { clashes, reports } = clashesOf()
  await call(clashes, 'call_1')
  await expect(call(clashes, 'call_2', 'fail')).rejects.toThrow('no')
  clashes.observeAnswer(NAME, 'call_1')
  clashes.observeAnswer('another_tool', 'call_3')
  expect(reports).toEqual([])
  clashes.observeAnswer(NAME, 'call_4')
  clashes.observeAnswer(NAME, 'call_5')
  expect(reports).toEqual([
    `tool ${NAME}: another tool of that name answered a call, perhaps one of an MCP server; ` +
      'the option toolPrefix renames ours',
  ])
})

test('two copies of the plugin detect each other, and only the later one reports it', () => {
  const [first, second] = [clashesOf(), clashesOf()]
  for (let turn = 0; turn < 3; turn += 1) {
    const definition = ours()
    for (const { clashes } of [first, second]) clashes.observeDefinition(NAME, definition)
  }
  // The first copy observes the answers of the second copy's tools.
  first.clashes.observeAnswer(NAME, 'call_1')
  expect(first.reports).toEqual([])
  expect(second.reports).toEqual([
    'opencode-background is loaded twice: leave one entry of it under `plugin` in opencode.json',
  ])
})
