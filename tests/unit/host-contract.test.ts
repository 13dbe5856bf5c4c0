import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format } from 'oxfmt'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const PAGE = join(root, 'docs', 'host-contract.md')
const TABLE = /(?<=\n## Which test shows a section\n\n)\|[^]*$/
const page = readFileSync(PAGE, 'utf8')
/** `4.10`, and `5` for a section that has no numbered points. */
const sections = new Set([
  ...[...page.matchAll(/^- \*\*(\d+\.\d+b?)\*\*/gm)].map(([, number = '']) => number),
  ...[...page.matchAll(/^## (\d+)\./gm)].map(([, number = '']) => number),
])

function filesIn(...folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(?:tsx?|md)$/.test(name))
      .map((name) => join(folder, name)),
  )
}

test('each section of the host contract that a comment names is in docs/host-contract.md', () => {
  const unknown = filesIn('src', 'tests', 'docs', 'scripts').flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8')
    const named = [...text.matchAll(/contract ((?:\d+(?:\.\d+b?)?(?:, | and )?)+)/g)]
    return named
      .flatMap(([, numbers = '']) => numbers.match(/\d+(?:\.\d+b?)?/g) ?? [])
      .filter((number) => !sections.has(number))
      .map((number) => `${file}: ${number}`)
  })
  expect(unknown).toEqual([])
})

test('the table in docs/host-contract.md has the tests that show each section', async () => {
  const shown = filesIn('tests/contract').flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8')
    return [...text.matchAll(/\btest\(\s*['"](.*?) \((\d+(?:\.\d+b?)?(?:, \d+\.\d+b?)*)\)['"],/g)].map(
      ([, title = '', numbers = '']) => ({ title, numbers: numbers.split(', '), file }),
    )
  })
  expect(shown.flatMap(({ numbers }) => numbers).filter((number) => !sections.has(number))).toEqual([])
  const inOrder = [...sections].toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  const rows = inOrder.flatMap((section) => {
    const titles = shown
      .filter(({ numbers }) => numbers.includes(section))
      .map(
        ({ title, file }) => `${title.replaceAll('|', '\\|')} (\`${file.replace(/^tests\/|\.ts$/g, '')}\`)`,
      )
    return titles.length === 0 ? [] : [`| ${section} | ${titles.toSorted().join('; ')} |`]
  })
  const table = ['| section | test |', '| --- | --- |', ...rows, ''].join('\n')
  const { code } = await format(PAGE, table)
  await expect(page.replace(TABLE, () => code)).toMatchFileSnapshot(PAGE)
})
