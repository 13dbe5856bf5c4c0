import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TaskStore } from '../../../../src/task/store.ts'
import { CommandRunner } from '../../../../src/work/command/command-runner.ts'
import { ManualClock } from '../../../harness/manual-clock.ts'
import { pendingCommand } from '../../../harness/tasks.ts'

test('a command that left its end but no process identity is recovered with its end', async () => {
  const root = mkdtempSync(join(tmpdir(), 'command-runner-'))
  try {
    const task = pendingCommand()
    mkdirSync(join(root, task.id))
    writeFileSync(join(root, task.id, 'exit'), 'status 0\n')
    const ports = { store: new TaskStore(), clock: new ManualClock(), machine: { root } }
    const runner = new CommandRunner(ports as never, { toldBytes: 4096 } as never)
    const { task: found, ends } = await runner.recover(task, () => false)
    expect(found).toMatchObject({ status: 'completed', exit: { type: 'exited', code: 0 } })
    expect(ends).toHaveLength(1)
  } finally {
    rmSync(root, { recursive: true })
  }
})
