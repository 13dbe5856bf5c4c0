import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { optionsTable } from '../../scripts/options.ts'
import plugin from '../../src/server.ts'

const README = fileURLToPath(new URL('../../README.md', import.meta.url))
const OPTIONS = /(?<=\n## Options\n\n)\|[^]*?\|(?=\n\n)/

test('the table of options in the README has each option, with its default and what it means', async () => {
  const table = await optionsTable()
  const readme = readFileSync(README, 'utf8')
  expect(readme).toMatch(OPTIONS)
  await expect(readme.replace(OPTIONS, () => table)).toMatchFileSnapshot(README)
})

/** The arguments that the README names for each tool; a row without a name belongs to the one above. */
function argumentsInReadme(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  const [section = ''] = /## The tools\n[^]*?\n## /.exec(readFileSync(README, 'utf8')) ?? []
  let tool = ''
  for (const [, named = '', cell = ''] of section.matchAll(/^\| (?:`(\w+)`)? *\| (.*?) \|/gm)) {
    tool = named || tool
    const names = found.get(tool) ?? new Set()
    found.set(tool, names)
    for (const [, name = ''] of cell.matchAll(/`(\w+)/g)) names.add(keyOf(name))
  }
  return found
}

/** Both spellings are taken. */
const keyOf = (name: string): string => name.replaceAll('_', '').toLowerCase()

test('the table of tools in the README has each tool, with each of its arguments and no other', async () => {
  const hooks = await plugin.server({ client: {}, directory: '/nowhere' } as never)
  const { tool } = hooks as { readonly tool: Readonly<Record<string, { readonly args: object }>> }
  const defined = Object.entries(tool).map(
    ([name, { args }]) => [name, Object.keys(args).map(keyOf).toSorted()] as const,
  )
  const named = [...argumentsInReadme()].map(([name, names]) => [name, [...names].toSorted()] as const)
  expect(Object.fromEntries(named)).toEqual(Object.fromEntries(defined))
})
