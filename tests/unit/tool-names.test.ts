import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseOptions } from '../../src/config.ts'
import { toolNames } from '../../src/tool-names.ts'

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url))

test('R13: no source file spells a tool name, because each reads it from tool-names', () => {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter(
    // The option texts in config.ts name the tools without a prefix, because people read them.
    (file) => /\.tsx?$/.test(file) && file !== 'tool-names.ts' && file !== 'config.ts',
  )
  // Excludes the key by which a tool looks its name up, properties of the table, and the element of a notice, also in
  // patterns that match it.
  const spelled = new RegExp(
    String.raw`(?<![.\w]|<\/?|\?:|\n    name: ')(?:${Object.keys(toolNames('')).join('|')})\b(?!:)`,
  )
  const found = files.flatMap((file) => {
    const code = readFileSync(join(SOURCE, file), 'utf8').replaceAll(/\/\*\*[^]*?\*\/|\/\/.*/g, '')
    return spelled.test(code) ? [file] : []
  })
  expect(found).toEqual([])
})

test.for(['9lives', 'a b', 'ünder_', 'x'.repeat(21), 'a.', 5])(
  'R13: a prefix that providers reject in a tool name is refused: %s',
  (toolPrefix) => {
    const { options, problems } = parseOptions({ toolPrefix })
    expect(options.toolPrefix).toBe('')
    expect(problems).toHaveLength(1)
  },
)

test('R13: toolPrefix precedes each tool name', () => {
  const { toolPrefix } = parseOptions({ toolPrefix: 'my-bg_' }).options
  expect(Object.values(toolNames(toolPrefix))).toContain('my-bg_list_background')
})
