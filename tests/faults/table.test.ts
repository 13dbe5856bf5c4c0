import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { GROUPS } from './rows.ts'

const INTRODUCTION = `# What happens when something goes wrong

Written by the tests in \`tests/faults\`, which play each row on the real OpenCode: one task is launched, the fault is
brought about, then the user writes twice. "Times" counts how often the parent's model has read of the end. "Left" counts
sessions at work, unfinished tasks, and permissions that are asked for.`

test('the table in the documentation is what the rows promise', async () => {
  await expect(table()).toMatchFileSnapshot(fileURLToPath(new URL('../../docs/faults.md', import.meta.url)))
})

function table(): string {
  const head = ['What happens', 'When', 'The parent is told', 'Times', 'How', 'Left']
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
  const groups = Object.entries(GROUPS).map(([group, rows]) =>
    [
      `## ${group}`,
      '',
      line(head),
      line(head.map(() => '---')),
      ...rows.map(({ fault, moment, expected: { told, times, how, left } }) =>
        line([fault, moment, told, times, how, left]),
      ),
    ].join('\n'),
  )
  return `${[INTRODUCTION, ...groups].join('\n\n')}\n`
}
