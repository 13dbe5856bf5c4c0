/** Commands hidden in every construct of bash, and in constructs within them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bashCommandsOf } from '../../../../src/work/command/required-permissions/second-parser.ts'
import { commandsOf } from '../../../../src/work/command/required-permissions/command-line.ts'
import type { SimpleCommand } from '../../../../src/work/command/required-permissions/simple-command.ts'
import { bashLines, CONSTRUCTS } from '../../../harness/lines.ts'

/** An unknown shell: lines that only bash accepts are refused. */
const NO_BASH = { shell: '/nonexistent', env: {} }

function missing(hidden: readonly string[], commands: readonly SimpleCommand[]): readonly string[] {
  const names = new Set(commands.map(({ tokens: [name] }) => name))
  return hidden.filter((name) => !names.has(name))
}

test.each(Object.entries(CONSTRUCTS))('the second parser finds a command hidden in: %s', (_, construct) => {
  const line = construct('rm x', 'rm y', 1)
  const seen = bashCommandsOf(line)?.map(({ text }) => text)
  expect(seen).toEqual(expect.arrayContaining(['rm x', 'rm y']))
})

test('the second parser finds every command of a line that it accepts', () => {
  fc.assert(
    fc.property(bashLines, ({ line, hidden }) => {
      const commands = bashCommandsOf(line)
      fc.pre(commands !== undefined)
      expect(missing(hidden, commands)).toEqual([])
    }),
    { numRuns: 500 },
  )
})

test('the first parser misses no hidden command of a line that both parsers accept', async () => {
  await fc.assert(
    fc.asyncProperty(bashLines, async ({ line, hidden }) => {
      fc.pre(bashCommandsOf(line) !== undefined)
      const taken = await commandsOf(line, NO_BASH).catch(() => undefined)
      fc.pre(taken !== undefined)
      expect(missing(hidden, taken.commands)).toEqual([])
    }),
    { numRuns: 300 },
  )
})
