import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { OUTSIDE_ROWS } from './outside-rows.ts'
import { GROUPS } from './rows.ts'

const INTRODUCTION = `# What happens when something goes wrong

The tests in \`tests/faults\` write this page, and play each row on the real OpenCode: the parent launches one task, the
test causes the fault, then the user writes twice. "Times" counts how often the parent's model has read the end. "Left"
counts busy sessions, unfinished tasks and unanswered permission requests. In the last group a manager in another process
than OpenCode ([library.md](library.md#outside-of-opencode)) launches the task.`

test('docs/faults.md matches the rows', async () => {
  await expect(table()).toMatchFileSnapshot(fileURLToPath(new URL('../../docs/faults.md', import.meta.url)))
})

function table(): string {
  const head = ['Fault', 'When', 'The parent receives', 'Times', 'How', 'Left']
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
  const groups = Object.entries({ ...GROUPS, 'A manager outside of OpenCode': OUTSIDE_ROWS }).map(
    ([group, rows]) =>
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
