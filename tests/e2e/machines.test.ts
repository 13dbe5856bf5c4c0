import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startMachine, type RemoteMachine } from '../harness/machines.ts'
import type { Script } from '../harness/script.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'
import { idOf, writes } from '../harness/trees.ts'

let stage: Stage
let big: RemoteMachine

/** Starts the stage twice, because the machine's clone is made of the stage's project, and its address is an option. */
beforeAll(async () => {
  stage = await startStage()
  big = await startMachine(stage.server.directory, () => ({ text: 'done' }))
  await stage.close()
  stage = await startStage({ options: { machines: { big: { ...big.option, labels: ['fast'] } } } })
  // The clone follows the new project.
  big.git('remote', 'set-url', 'origin', stage.server.directory)
  big.git('fetch', '--quiet', 'origin')
  big.git('reset', '--quiet', '--hard', 'origin/HEAD')
})
afterAll(async () => {
  await stage.close()
  await big.close()
})

function git(...args: readonly string[]): string {
  return execFileSync('git', ['-C', stage.server.directory, ...args]).toString()
}

async function launch(
  parent: Parent,
  script: Script,
  description: string,
  args: object = {},
): Promise<string> {
  big.model.script = script
  const [answer = ''] = await parent.call([backgroundTask(description, { where: 'big', ...args })])
  return answer
}

test('an agent works on another machine, and its branch comes back', async () => {
  writeFileSync(join(stage.server.directory, 'README.md'), '# Changed\n')
  writeFileSync(join(stage.server.directory, 'draft.txt'), 'not tracked\n')
  const parent = await stage.parent()
  const answer = await launch(parent, writes('page.txt', 'one\ntwo\n'), 'write a page')
  const id = idOf(answer)
  const branch = `opencode-background/${id}-write-a-page`
  expect(answer).toContain('machine: big')
  expect(answer).toContain('note: it lacks files that git does not track: draft.txt')
  await parent.waitForNotice('written in')
  expect(parent.noticeText).toContain(
    `<result>written in ${big.server.home}/state/opencode-background/worktrees/`,
  )
  expect(parent.noticeText).toContain('machine="big"')
  expect(parent.noticeText).toContain(
    `Branch ${branch}, 1 commit, 1 file (+2 -0): page.txt. It applies cleanly`,
  )
  expect(git('show', `${branch}:page.txt`)).toBe('one\ntwo\n')
  expect(git('show', `${branch}:README.md`)).toBe('# Changed\n')
  expect(git('ls-tree', '--name-only', branch)).not.toContain('draft.txt')
  const [applied = ''] = await parent.call([{ name: 'background_apply', args: { task_id: id } }])
  expect(applied).toContain('are in your checkout, unstaged:\n- page.txt')
  expect(readFileSync(join(stage.server.directory, 'page.txt'), 'utf8')).toBe('one\ntwo\n')
  const [output = ''] = await parent.call([{ name: 'background_output', args: { task_id: id } }])
  expect(output).toContain('result:\nwritten in')
  // Nothing of it stays there.
  expect(big.git('worktree', 'list').trim().split('\n')).toHaveLength(1)
  expect(big.git('for-each-ref', 'refs/opencode-background', 'refs/heads/opencode-background')).toBe('')
})
