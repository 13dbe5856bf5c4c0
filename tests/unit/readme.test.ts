import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { optionsTable } from '../../scripts/options.ts'
import plugin from '../../src/server.ts'

const page = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const OPTIONS_PAGE = page('docs/options.md')
const OPTIONS = /(?<=\n\n)\| option[^]*?\|(?=\n\n)/

test('the table in docs/options.md has each option, with its default and its meaning', async () => {
  const table = await optionsTable()
  const text = readFileSync(OPTIONS_PAGE, 'utf8')
  expect(text).toMatch(OPTIONS)
  await expect(text.replace(OPTIONS, () => table)).toMatchFileSnapshot(OPTIONS_PAGE)
})

/** Returns the arguments of each tool in docs/tools.md; a row without a tool belongs to the tool above. */
function argumentsInPage(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  const text = readFileSync(page('docs/tools.md'), 'utf8')
  let tool = ''
  for (const [, named = '', cell = ''] of text.matchAll(/^\| (?:`(\w+)`)? *\| (.*?) \|/gm)) {
    tool = named || tool
    const names = found.get(tool) ?? new Set()
    found.set(tool, names)
    for (const [, name = ''] of cell.matchAll(/`(\w+)/g)) names.add(keyOf(name))
  }
  return found
}

/** Normalizes a name, because tools accept both spellings. */
const keyOf = (name: string): string => name.replaceAll('_', '').toLowerCase()

test('the table in docs/tools.md has each tool, with each of its arguments and no other', async () => {
  const hooks = await plugin.server({ client: {}, directory: '/nowhere' } as never)
  const { tool } = hooks as { readonly tool: Readonly<Record<string, { readonly args: object }>> }
  const defined = Object.entries(tool).map(
    ([name, { args }]) => [name, Object.keys(args).map(keyOf).toSorted()] as const,
  )
  const named = [...argumentsInPage()].map(([name, names]) => [name, [...names].toSorted()] as const)
  expect(Object.fromEntries(named)).toEqual(Object.fromEntries(defined))
})

test('the README has at most 120 lines, each tool, and options with their real defaults', async () => {
  const readme = readFileSync(page('README.md'), 'utf8')
  expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(120)
  const { tool } = (await plugin.server({ client: {}, directory: '/nowhere' } as never)) as { tool: object }
  for (const name of Object.keys(tool)) expect(readme).toContain(`| \`${name}\` `)
  const all = await optionsTable()
  const rows = [...readme.matchAll(/^\| `([\w.]+)` +\| (\S+) +\| .*\|$/gm)].filter(
    ([, name = '']) => !(name in tool),
  )
  expect(rows.length).toBeGreaterThan(3)
  for (const [, name = '', value = ''] of rows)
    expect(all.replaceAll(/ +/g, ' ')).toContain(`| \`${name}\` | ${value} |`)
})

test('each link between the documents leads to an existing file', () => {
  const root = page('.')
  const pages = ['.', 'docs', 'docs/bench'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(root, folder, name)),
  )
  const broken = pages.flatMap((path) =>
    [...readFileSync(path, 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)]
      .map(([, target = '']) => join(dirname(path), target))
      .filter((target) => !existsSync(target))
      .map((target) => `${relative(root, path)}: ${relative(root, target)}`),
  )
  expect(pages.length).toBeGreaterThan(5)
  expect(broken).toEqual([])
})

test('each test that a document names exists', () => {
  const root = page('.')
  const pages = ['.', 'docs'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(root, folder, name)),
  )
  const named = pages.flatMap((path) =>
    [
      ...readFileSync(path, 'utf8').matchAll(
        /`((?:unit|races|e2e|tui|contract|faults|command|worktree|mcp|fleet|browser)\/[a-z][a-z/-]*)`/g,
      ),
    ].map(([, name = '']) => name),
  )
  const isThere = (name: string): boolean =>
    ['', '.ts', '.test.ts'].some((end) => existsSync(join(root, 'tests', name + end)))
  expect(named.length).toBeGreaterThan(50)
  expect([...new Set(named)].filter((name) => !isThere(name))).toEqual([])
})
