import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { ALIASES, takeArguments } from '../../../src/tools/arguments.ts'

const SHAPE = {
  prompt: z.string(),
  agent: z.optional(z.string()),
  task_id: z.optional(z.string()),
  description: z.optional(z.string()),
  timeout: z._default(z.int(), 5),
  all: z.optional(z.boolean()),
  status: z._default(z.enum(['all', 'running']), 'all'),
  notify_on: z._default(z.array(z.string()), []),
}

const taken = (input: unknown): unknown => takeArguments(input, SHAPE).values

test.each<[string, unknown, object]>([
  ['an empty text', { task_id: '', status: ' ', prompt: 'x' }, { prompt: 'x' }],
  ['null', { agent: null, prompt: 'x' }, { prompt: 'x' }],
  ['a number as a text', { timeout: '60000' }, { timeout: 60_000 }],
  ['a boolean as a text', { all: 'True' }, { all: true }],
  ['a text for a list', { notify_on: 'ready' }, { notify_on: ['ready'] }],
  ['a list as JSON', { notify_on: '["a","b"]' }, { notify_on: ['a', 'b'] }],
  ['a choice in another case', { status: 'Running' }, { status: 'running' }],
  ['a number for a text', { prompt: 7 }, { prompt: '7' }],
  ["the host's name for the agent", { subagent_type: 'general' }, { agent: 'general' }],
  ['a name in another case', { taskId: 'bg_1', 'Notify-On': 'x' }, { task_id: 'bg_1', notify_on: ['x'] }],
  ['all arguments as one JSON text', '{"prompt":"x"}', { prompt: 'x' }],
  ['a word for nothing as an id', { task_id: 'null', agent: ' None ', prompt: 'x' }, { prompt: 'x' }],
  ['a word for nothing as a number', { timeout: 'undefined', all: 'null', prompt: 'x' }, { prompt: 'x' }],
  [
    'a word for nothing as a prompt',
    { prompt: 'none', notify_on: 'null' },
    { prompt: 'none', notify_on: ['null'] },
  ],
  ['an empty entry of a list', { notify_on: ['', null, ' '], prompt: 'x' }, { notify_on: [], prompt: 'x' }],
  ['a number in a list', { notify_on: [3000, ' a '] }, { notify_on: ['3000', ' a '] }],
  ['a number for a list', { notify_on: 3000 }, { notify_on: ['3000'] }],
  [
    'a list of one for a single value',
    { task_id: ['bg_1'], timeout: ['5'], agent: [] },
    { task_id: 'bg_1', timeout: 5 },
  ],
  [
    'a flag that is always true',
    { prompt: 'x', run_in_background: 'true', background: true },
    { prompt: 'x' },
  ],
  ['one value under two names', { task_id: 'bg_1', id: 'bg_1', taskId: ['bg_1'] }, { task_id: 'bg_1' }],
  ['an alias beside an empty value', { task_id: null, id: 'bg_1', title: '' }, { task_id: 'bg_1' }],
  ['an id under the name task', { task: 'BG_1a2b3c4d' }, { task_id: 'BG_1a2b3c4d' }],
  ['a session id under the name task', { task: 'ses_1a2' }, { task_id: 'ses_1a2' }],
  ['a description under the name task', { task: 'Write the tests' }, { description: 'Write the tests' }],
  ['nothing at all', undefined, {}],
])('R5: a tool accepts %s with the meaning that the model intended', (_, input, expected) => {
  expect(taken(input)).toEqual(expected)
  expect(takeArguments(input, SHAPE).unknown).toEqual([])
})

test('a tool leaves a prompt unchanged, including blanks', () => {
  expect(taken({ prompt: '  two\n\tlines  \n' })).toEqual({ prompt: '  two\n\tlines  \n' })
})

test.each([
  [
    { task_id: 'bg_1', id: 'bg_2' },
    'task_id and id are one argument, and have two values: give task_id alone.',
  ],
  [
    { taskId: 'bg_1', task_id: 'bg_2' },
    'taskId and task_id are one argument, and have two values: give task_id alone.',
  ],
  [
    { title: 'A', name: 'B' },
    'title and name are one argument, and have two values: give description alone.',
  ],
  [
    { agent: 'a', subagent_type: 'b' },
    'agent and subagent_type are one argument, and have two values: give agent alone.',
  ],
  [
    { description: 'A', task: 'B' },
    'description and task are one argument, and have two values: give description alone.',
  ],
])('a tool reports both names when %j gives one argument two values', (input, sentence) => {
  const { unknown, clashes } = takeArguments(input, SHAPE)
  expect({ unknown, clashes }).toEqual({ unknown: [], clashes: [sentence] })
})

test('a flag that contradicts what the tool does is an unknown argument', () => {
  expect(takeArguments({ run_in_background: false }, SHAPE).unknown).toHaveLength(1)
})

test('`task` means task_id for a tool without a description', () => {
  const shape = { task_id: z.string() }
  expect(takeArguments({ task: 'Write the tests' }, shape).values).toEqual({ task_id: 'Write the tests' })
})

test('R21: a tool reports an unknown argument together with the nearest known one', () => {
  expect(
    takeArguments({ prompt: 'x', timout: 5, worktree: true, after: null, x: '' }, SHAPE).unknown,
  ).toEqual([
    'timout: there is no such argument; did you mean timeout?',
    `worktree: there is no such argument; it has ${Object.keys(SHAPE).join(', ')}.`,
  ])
})

test('takeArguments accepts or reports every argument of a model, and never throws', () => {
  const aliases = [...ALIASES]
    .filter(([, names]) => names.some((name) => name in SHAPE))
    .map(([alias]) => alias)
  const ours = new Set([...Object.keys(SHAPE).map((name) => name.replaceAll('_', '')), ...aliases])
  const names = fc.oneof(
    fc.constantFrom(...Object.keys(SHAPE), ...ALIASES.keys()),
    fc.constantFrom(...Object.getOwnPropertyNames(Object.prototype)),
    fc.string({ maxLength: 20 }),
  )
  const values = fc.oneof(
    fc.anything(),
    fc.constantFrom('true', '5', '["a"]', '{}', '', ' ', 'null', 'bg_1', ['a'], ['a', 'b']),
    fc.constantFrom(...Object.getOwnPropertyNames(Object.prototype)),
  )
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(names, values), { selector: ([name]) => name }), (entries) => {
      const { values: found, unknown, clashes } = takeArguments(Object.fromEntries(entries), SHAPE)
      const strange = entries.filter(
        ([name, value]) =>
          !ours.has(name.toLowerCase().replaceAll(/[_\-\s]/g, '')) &&
          value !== null &&
          value !== undefined &&
          !(typeof value === 'string' && value.trim() === ''),
      )
      expect(Object.keys(found).every((name) => name in SHAPE)).toBe(true)
      expect(unknown).toHaveLength(strange.length)
      expect(unknown.every((text) => text.includes('there is no such argument'))).toBe(true)
      expect(Object.keys(found).length + clashes.length + unknown.length).toBeLessThanOrEqual(entries.length)
    }),
    { seed: 20261126, numRuns: 1000 },
  )
})
