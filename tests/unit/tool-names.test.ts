import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseOptions } from '../../src/config.ts'
import { toolNames } from '../../src/tool-names.ts'

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url))

test('R13: no source file spells the name of a tool: each takes it from the table of names', () => {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter(
    // What options mean is for people, who read of the tools by the names that they have without a prefix.
    (file) => /\.tsx?$/.test(file) && file !== 'tool-names.ts' && file !== 'config.ts',
  )
  // Neither a property of the table, nor the element of a notice, also where it is looked for.
  const spelled = new RegExp(
    String.raw`(?<![.\w]|<\/?|\?:)(?:${Object.keys(toolNames('')).join('|')})\b(?!:)`,
  )
  const found = files.flatMap((file) => {
    const code = readFileSync(join(SOURCE, file), 'utf8').replaceAll(/\/\*\*[^]*?\*\/|\/\/.*/g, '')
    return spelled.test(code) ? [file] : []
  })
  expect(found).toEqual([])
})

test.for(['9lives', 'a b', 'ünder_', 'x'.repeat(21), 'a.', 5])(
  'R13: a prefix that no provider takes in the name of a tool is refused: %s',
  (toolPrefix) => {
    const { options, problems } = parseOptions({ toolPrefix })
    expect(options.toolPrefix).toBe('')
    expect(problems).toHaveLength(1)
  },
)

test('R13: a prefix stands before the name of each tool', () => {
  const { toolPrefix } = parseOptions({ toolPrefix: 'my-bg_' }).options
  expect(Object.values(toolNames(toolPrefix))).toContain('my-bg_list_background')
})
