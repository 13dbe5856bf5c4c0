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
  ['all as a text of JSON', '{"prompt":"x"}', { prompt: 'x' }],
  ['nothing at all', undefined, {}],
])('R5: %s is taken as what is meant', (_, input, expected) => {
  expect(taken(input)).toEqual(expected)
  expect(takeArguments(input, SHAPE).unknown).toEqual([])
})

test('a prompt is taken as it is, blanks included', () => {
  expect(taken({ prompt: '  two\n\tlines  \n' })).toEqual({ prompt: '  two\n\tlines  \n' })
})

test('our own name wins over an alias, in whatever order they come', () => {
  expect(taken({ subagent_type: 'a', agent: 'b' })).toEqual({ agent: 'b' })
  expect(taken({ agent: 'b', subagent_type: 'a' })).toEqual({ agent: 'b' })
})

test('R21: what a tool does not have is named, with the nearest that it has', () => {
  expect(
    takeArguments({ prompt: 'x', timout: 5, worktree: true, after: null, x: '' }, SHAPE).unknown,
  ).toEqual([
    'timout: there is no such argument; did you mean timeout?',
    `worktree: there is no such argument; it has ${Object.keys(SHAPE).join(', ')}.`,
  ])
})

test('whatever a model writes is taken, or named: nothing is dropped without a word, and nothing throws', () => {
  const names = fc.oneof(
    fc.constantFrom(...Object.keys(SHAPE), ...Object.keys(ALIASES)),
    fc.string({ maxLength: 20 }),
  )
  const values = fc.oneof(fc.anything(), fc.constantFrom('true', '5', '["a"]', '{}', '', ' '))
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(names, values), { selector: ([name]) => name }), (entries) => {
      const { values: found, unknown } = takeArguments(Object.fromEntries(entries), SHAPE)
      const given = Object.entries(Object.fromEntries(entries)).filter(
        ([, value]) =>
          value !== null && value !== undefined && !(typeof value === 'string' && value.trim() === ''),
      )
      expect(Object.keys(found).every((name) => name in SHAPE)).toBe(true)
      // Several spellings of one argument are one.
      expect(Object.keys(found).length + unknown.length).toBeLessThanOrEqual(given.length)
      expect(given.length === 0 || Object.keys(found).length + unknown.length > 0).toBe(true)
      expect(unknown.every((text) => text.includes('there is no such argument'))).toBe(true)
    }),
    { seed: 20261126, numRuns: 1000 },
  )
})
