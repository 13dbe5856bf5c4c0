import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Opencode, Session } from '../../src/host/opencode.ts'
import { TaskStore } from '../../src/task/store.ts'
import type { AgentTask, Outcome } from '../../src/task/task.ts'
import { NO_USAGE } from '../../src/task/task.ts'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { WorktreeRuns, type WorktreeFollower } from '../../src/worktree/worktree-runs.ts'
import { createRepository, DEFAULTS, task, type Repository } from './repository.ts'

const DONE: Outcome = { status: 'completed', text: 'done', usage: NO_USAGE }

/** Creates a task with a planned tree, and what runs it; `log` has the calls of OpenCode. */
async function scene(
  repository: Repository,
  changes: { readonly move?: () => Promise<void>; readonly follow?: WorktreeFollower } = {},
): Promise<{
  readonly runs: WorktreeRuns
  readonly worktree: Worktree
  readonly planned: AgentTask
  readonly log: string[]
}> {
  const log: string[] = []
  const move = changes.move ?? (() => Promise.resolve())
  const opencode = {
    include: (directory: string) => {
      log.push(`include ${directory}`)
      return () => log.push('exclude')
    },
    session: () => Promise.resolve({ directory: repository.root } as Session),
    moveSession: (_: string, directory: string) => {
      log.push(`move to a tree with ${existsSync(join(directory, 'README.md')) ? 'its files' : 'no files'}`)
      return move()
    },
  } as unknown as Opencode
  const follow: WorktreeFollower =
    changes.follow ??
    ((_, __, signal) => {
      log.push('follow')
      signal.addEventListener('abort', () => log.push('follow no more'))
      return Promise.resolve()
    })
  const places = { directory: repository.root, root: repository.state }
  const runs = new WorktreeRuns({ opencode, places, follow, store: new TaskStore() }, DEFAULTS)
  const run = task()
  const worktree = await runs.plan(run)
  const planned = { ...run, kind: 'agent', sessionID: 'ses_1', startedAt: 1, worktree } as AgentTask
  return { runs, worktree, planned, log }
}

const never = new AbortController().signal

test('a session is moved into a complete tree, and followed until the end of the run', async () => {
  const repository = createRepository()
  const { runs, worktree, planned, log } = await scene(repository)
  const outcome = await runs.run(planned, worktree, never, (problem) => {
    log.push(`run ${String(problem)}`)
    repository.write('page.txt', 'one\n', worktree.root)
    return Promise.resolve(DONE)
  })
  expect(outcome).toMatchObject({ ...DONE, changes: { type: 'committed', files: 1 } })
  expect(log).toEqual([
    `include ${worktree.directory}`,
    'move to a tree with its files',
    'follow',
    'run undefined',
    'follow no more',
    'exclude',
  ])
})

test('a run is told why its tree cannot be had, and leaves no tree', async () => {
  const repository = createRepository()
  const move = (): Promise<void> => Promise.reject(new Error('OpenCode refused session.move'))
  const { runs, worktree, planned } = await scene(repository, { move })
  const problems: (string | undefined)[] = []
  const outcome = await runs.run(planned, worktree, never, (problem) => {
    problems.push(problem)
    return Promise.resolve(DONE)
  })
  expect(problems).toEqual(['OpenCode refused session.move'])
  expect(outcome.changes).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
})

test('a stop ends the wait for the events of a tree', async () => {
  const repository = createRepository()
  const stop = new AbortController()
  const { runs, worktree, planned } = await scene(repository, {
    follow: () => {
      stop.abort()
      return new Promise(() => {})
    },
  })
  const outcome = await runs.run(planned, worktree, stop.signal, () =>
    Promise.resolve({ ...DONE, status: 'cancelled', by: 'user' }),
  )
  expect(outcome).toMatchObject({ status: 'cancelled', changes: { type: 'none' } })
})

test('what a run left whose process is gone is committed, and a task without changes is not applied', async () => {
  const repository = createRepository()
  const { runs, worktree, planned } = await scene(repository)
  await runs.run(planned, worktree, never, () => new Promise<Outcome>((resolve) => resolve(DONE)))
  const ended = { ...planned, ...DONE, endedAt: 2 } as AgentTask & { readonly status: 'completed' }
  await expect(runs.apply(ended, false)).rejects.toThrow('has no changes to apply')
  const { worktree: second, planned: killed, runs: later } = await scene(repository)
  void later.run(killed, second, never, () => new Promise(() => {}))
  await expect.poll(() => existsSync(join(second.root, 'README.md'))).toBe(true)
  repository.write('page.txt', 'one\n', second.root)
  const { worktree: _, ...rest } = { ...killed, ...DONE, endedAt: 2 } as typeof ended
  expect(await runs.recover(rest)).toBe(rest)
  const found = await runs.recover({ ...rest, worktree: second })
  expect(found.changes).toMatchObject({ type: 'committed', paths: ['page.txt'] })
  expect(await runs.apply(found, false)).toEqual({ type: 'applied', paths: ['page.txt'] })
  expect(readFileSync(join(repository.root, 'page.txt'), 'utf8')).toBe('one\n')
})
