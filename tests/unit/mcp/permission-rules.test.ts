import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { judge, readRules, rulesOf, type Action } from '../../../src/mcp/permission-rules.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rules-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

/** The decision for a command line by a configuration. */
function decision(config: unknown, line: string): Action {
  const path = join(directory, 'opencode.json')
  writeFileSync(path, JSON.stringify(config))
  return judge(readRules({ allow: [], deny: [], config: path }), 'bash', line)
}

test.each<[pattern: string, line: string, isMatch: boolean]>([
  ['cat foo/*', String.raw`cat foo\/bar`, true],
  [String.raw`cat foo\*`, 'cat foo/bar', true],
  ['ls *', 'ls', true],
  ['ls *', 'lsof', false],
  ['a.(b)[c]+^$', 'a.(b)[c]+^$', true],
  ['a.c', 'abc', false],
  ['echo ?', 'echo a', true],
  ['echo *', 'echo a\nb', true],
])('the pattern %j matches %j as in OpenCode: %j', (pattern, line, isMatch) => {
  expect(decision({ permission: { bash: { [pattern]: 'deny' } } }, line)).toBe(isMatch ? 'deny' : 'allow')
})

test('a pattern begins with the home directory as in OpenCode', () => {
  const mistake = (what: string) => new Error(what)
  const patterns = ['~', '~/a', '$HOME/a', '$HOMEa', '~a', 'a~']
  const rules = rulesOf({ bash: Object.fromEntries(patterns.map((each) => [each, 'deny'])) }, mistake)
  const home = homedir()
  expect(rules.map(({ pattern }) => pattern)).toEqual([
    home,
    `${home}/a`,
    `${home}/a`,
    `${home}a`,
    '~a',
    'a~',
  ])
})

test('the older form of a permission counts, unless permission has the same name', () => {
  expect(decision({ tools: { bash: false } }, 'ls')).toBe('deny')
  expect(decision({ tools: { bash: false }, permission: 'ask' }, 'ls')).toBe('ask')
  expect(decision({ tools: { bash: false }, permission: { bash: { 'ls *': 'ask' } } }, 'ls')).toBe('ask')
})

test('a configuration may begin with a byte order mark', () => {
  const path = join(directory, 'opencode.json')
  writeFileSync(path, '\uFEFF{ "permission": "ask" }')
  expect(judge(readRules({ allow: [], deny: [], config: path }), 'bash', 'ls')).toBe('ask')
})

test.each([
  [[]],
  ['allow'],
  [{}],
  [{ permissions: { bash: 'deny' } }],
  [{ permission: null }],
  [{ permission: { bash: 'no' } }],
  [{ tools: { bash: 0 } }],
])('the configuration %j is refused', (config) => expect(() => decision(config, 'ls')).toThrow('--config: '))
