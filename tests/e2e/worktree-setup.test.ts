import { afterAll, beforeAll, expect, test } from 'vitest'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Project } from '../harness/server.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  const bash = { '*': 'allow', 'touch asked': 'ask', 'rm *': 'deny' }
  stage = await startStage({ config: { permission: { external_directory: 'allow', bash } } })
})
afterAll(() => stage.close())

/** Creates a parent in a project whose worktrees begin with this command line. */
async function parentWith(setup: string): Promise<{ readonly parent: Parent; readonly project: Project }> {
  const project = stage.project({ options: { worktree: { agents: ['general'], setup } } })
  return { parent: await stage.parent(() => ({ text: 'worked' }), {}, project), project }
}

async function launch(parent: Parent): Promise<string> {
  const [answer = ''] = await parent.call([backgroundTask('work')])
  return answer
}

/** The names of the trees of all projects. */
function trees(): string[] {
  const root = join(stage.server.home, 'state/opencode-background/worktrees')
  if (!existsSync(root)) return []
  return readdirSync(root).flatMap((project) => readdirSync(join(root, project)))
}

test('an agent of worktree.agents gets a tree, and starts after its setup', async () => {
  const { parent } = await parentWith('pwd; touch made.txt')
  const answer = await launch(parent)
  expect(answer).toContain('branch: opencode-background/bg_')
  const notice = await parent.waitForNotice('worked')
  expect(notice).toBeDefined()
  expect(parent.noticeText).toContain('1 file (+0 -0): made.txt')
})

test('a setup that fails is told with the last lines of its output, and its agent never starts', async () => {
  const { parent } = await parentWith('echo no such package >&2; exit 3')
  const id = /bg_[0-9a-f]{8}/.exec(await launch(parent))?.[0] ?? ''
  await parent.waitForNotice('worktree.setup ended with exit code 3. Correct that, and continue the task.')
  expect(parent.noticeText).toMatch(/no such package\s*<\/error>/)
  expect(parent.childRequests).toEqual([])
  expect(trees()).not.toContain(id)
})

test('a setup that the rules deny is refused at the launch, and starts nothing', async () => {
  const { parent } = await parentWith('rm -rf cache')
  const before = trees()
  expect(await launch(parent)).toMatch(/rule which prevents you|denied|rejected/i)
  expect(parent.childRequests).toEqual([])
  expect(trees()).toEqual(before)
})

test.each([
  { reply: { reply: 'once' }, answers: 'task_id: bg_', isLaunched: true },
  // With a message, so that the parent's turn goes on.
  { reply: { reply: 'reject', message: 'not now' }, answers: 'not now', isLaunched: false },
])('a setup for which the rules ask is asked for at the launch: $reply.reply', async (row) => {
  const { parent, project } = await parentWith('touch asked')
  const answer = launch(parent)
  const requests = async (): Promise<{ readonly id: string; readonly permission: string }[]> =>
    (await project.get('/permission')) as { id: string; permission: string }[]
  await expect.poll(requests).toMatchObject([{ permission: 'bash', patterns: ['touch asked'] }])
  const [request] = await requests()
  const at = `?directory=${encodeURIComponent(project.directory)}`
  await fetch(`${stage.server.url}/permission/${request?.id}/reply${at}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(row.reply),
  })
  expect(await answer).toContain(row.answers)
  if (row.isLaunched) await parent.waitForNotice('worked')
  expect(parent.childRequests).toHaveLength(row.isLaunched ? 1 : 0)
})
