import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { optionsTable } from '../../scripts/options.ts'

const README = fileURLToPath(new URL('../../README.md', import.meta.url))
const TABLE = /(?<=\n## Options\n\n)\|[^]*?\|(?=\n\n)/

test('the table of options in the README has each option, with its default and what it means', async () => {
  const table = await optionsTable()
  const readme = readFileSync(README, 'utf8')
  expect(readme).toMatch(TABLE)
  await expect(readme.replace(TABLE, () => table)).toMatchFileSnapshot(README)
})
