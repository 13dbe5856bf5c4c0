import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseOptions } from '../../src/config.ts'

const defaults = parseOptions(undefined).options

test('without options parseOptions returns the defaults of docs/options.md', () => {
  expect(parseOptions(undefined)).toEqual({ options: defaults, problems: [] })
  expect(parseOptions({})).toEqual({ options: defaults, problems: [] })
  expect(defaults).toMatchObject({ concurrency: { total: 10 }, timeoutMs: 0, tmux: { enabled: false } })
})

test('a given option applies, and the rest of its group keeps the defaults', () => {
  const { options, problems } = parseOptions({ notify: { debounceMs: 5 }, concurrency: { total: 2 } })
  expect(options).toEqual({
    ...defaults,
    concurrency: { ...defaults.concurrency, total: 2 },
    notify: { ...defaults.notify, debounceMs: 5 },
  })
  expect(problems).toEqual([])
})

test('an invalid value alone falls back to its default, and is reported', () => {
  const { options, problems } = parseOptions({
    pollMs: 'soon',
    concurrency: { total: 3, providers: { anthropic: 0, openai: 2 } },
    notify: { debounceMs: -1, wake: 'sometimes' },
  })
  const { concurrency } = defaults
  expect(options).toEqual({
    ...defaults,
    concurrency: { ...concurrency, total: 3, providers: { openai: 2 } },
  })
  expect(problems.map((problem) => problem.split(':')[0])).toEqual([
    'concurrency.providers.anthropic',
    'notify.debounceMs',
    'notify.wake',
    'pollMs',
  ])
})

test('an unknown option is reported, and affects no other option', () => {
  const { options, problems } = parseOptions({ concurency: { total: 3 }, debug: true, notify: { wait: 1 } })
  expect(options).toEqual({ ...defaults, debug: true })
  expect(problems.join('\n')).toContain('concurency: there is no such option; did you mean concurrency?')
  expect(problems.join('\n')).toContain('notify.wait')
})

test('parseOptions returns valid options for any configuration', () => {
  const anyGroup = fc.record({ total: fc.jsonValue(), debounceMs: fc.jsonValue() }, { requiredKeys: [] })
  const anyOptions = fc.oneof(
    fc.jsonValue(),
    fc.record({ concurrency: fc.oneof(anyGroup, fc.jsonValue()), notify: anyGroup, pollMs: fc.jsonValue() }),
  )
  fc.assert(
    fc.property(anyOptions, (input) => {
      const { options } = parseOptions(input)
      expect(options.concurrency.total).toBeGreaterThanOrEqual(1)
      expect(options.pollMs).toBeGreaterThanOrEqual(50)
    }),
    { seed: 20261121 },
  )
})

test('a time limit that can never act, because timeoutMs stops the task before, is reported', () => {
  const { options, problems } = parseOptions({ timeoutMs: 5000, startTimeoutMs: 9000, stalledAfterMs: 1000 })
  expect(options).toMatchObject({ timeoutMs: 5000, startTimeoutMs: 9000 })
  expect(problems).toEqual([
    'startTimeoutMs: has no effect, because it must be shorter than timeoutMs (5000)',
  ])
  expect(parseOptions({ timeoutMs: 5000 }).problems).toEqual([])
})

test('N7: the report of an unknown option names the nearest known option', () => {
  const given = { timoutMs: 5, colour: 'blue', notify: { wakes: 'all' } } as object
  expect(parseOptions(given).problems.toSorted()).toEqual([
    'colour: there is no such option',
    'notify.wakes: there is no such option; did you mean notify.wake?',
    'timoutMs: there is no such option; did you mean timeoutMs?',
  ])
})

test('an uncloneable value affects no other option, and the given object stays unchanged', () => {
  const given = { debug: true, onEnd() {}, notify: { wake: () => 'all', debounceMs: 5 }, colour: Symbol('x') }
  const { options, problems } = parseOptions(given)
  expect(options).toEqual({ ...defaults, debug: true, notify: { ...defaults.notify, debounceMs: 5 } })
  for (const name of ['colour', 'notify.wake', 'onEnd'])
    expect(problems.filter((problem) => problem.startsWith(`${name}: `))).toHaveLength(1)
  expect(problems).toHaveLength(3)
  expect(Object.keys(given)).toEqual(['debug', 'onEnd', 'notify', 'colour'])
  expect(Object.keys(given.notify)).toEqual(['wake', 'debounceMs'])
})

test('parseOptions accepts circular, hostile, inherited and non-object options', () => {
  const circular: Record<string, unknown> = { debug: true }
  circular['self'] = circular
  const hostile = JSON.parse('{"__proto__":{"debug":1},"constructor":2,"notify":{"__proto__":1}}') as object
  const inherited = Object.create({ pollMs: 'soon' }) as object
  for (const given of [circular, hostile, inherited, () => {}, Symbol('x'), 5n])
    expect(parseOptions(given).options.pollMs).toBe(5000)
})

test('a problem names its key on one line, shortened and without control characters', () => {
  const given = {
    ['k'.repeat(30_000)]: 1,
    '\u001B[31mtimoutMs\u202E\n': 1,
    concurrency: { providers: { ['p'.repeat(30_000)]: 0 }, ['.'.repeat(30_000)]: 1 },
    [`notify.${'w'.repeat(30_000)}`]: 1,
  }
  for (const problem of parseOptions(given).problems) {
    expect(problem.length).toBeLessThan(250)
    expect(problem).toMatch(/^[^\p{Cc}\p{Bidi_Control}]*$/u)
  }
})

test('the problem of a dotted option name shows how to nest the option', () => {
  const given = { 'concurrency.total': 4, 'concurrency.providers.anthropic': 3, 'constructor.name': 1 }
  expect(parseOptions(given).problems.toSorted()).toEqual([
    'concurrency.providers.anthropic: there is no such option; did you mean "concurrency": { "providers": { "anthropic": … } }?',
    'concurrency.total: there is no such option; did you mean "concurrency": { "total": … }?',
    'constructor.name: there is no such option',
  ])
})

test('a machine needs a URL and a directory, and keeps no password', () => {
  const usable = { url: 'http://127.0.0.1:4097', directory: '/clone' }
  const { options, problems } = parseOptions({
    machines: {
      big: { ...usable, slot: 3 },
      literal: { ...usable, passwordEnv: 'sesame' },
      inside: { ...usable, url: 'http://me:sesame@127.0.0.1:4097' },
      bare: {},
    },
  })
  expect(Object.keys(options.machines)).toEqual(['big', 'literal'])
  expect(options.machines['literal']?.passwordEnv).toBe('')
  expect(problems.toSorted()).toEqual([
    'machines.bare: needs url and directory; it is left out',
    'machines.big.slot: there is no such option',
    'machines.inside.url: expected a URL without a password; the default is used',
    'machines.inside: needs url and directory; it is left out',
    'machines.literal.passwordEnv: expected the NAME of a variable in capitals; the default is used',
  ])
})
