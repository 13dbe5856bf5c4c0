import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Failure, Outcome } from '../../src/task/state.ts'
import type { AgentTask } from '../../src/task/task.ts'
import { createRepository, task } from './repository.ts'
import { DONE, scene } from './scene.ts'

const never = new AbortController().signal

test('a session is moved into a complete tree, and followed until the end of the run', async () => {
  const repository = createRepository()
  const { runs, worktree, planned, log } = await scene(repository)
  const outcome = await runs.run(planned, worktree, never, (failure) => {
    log.push(`run ${failure?.message}`)
    repository.write('page.txt', 'one\n', worktree.root)
    return Promise.resolve(DONE)
  })
  expect(outcome).toMatchObject({ ...DONE, changes: { type: 'committed', files: 1 } })
  expect(log).toEqual([
    'move to a tree with its files',
    'follow',
    `include ${worktree.directory}`,
    'run undefined',
    'follow no more',
    'exclude',
  ])
})

test('a run is told why its tree cannot be had, and leaves no tree', async () => {
  const repository = createRepository()
  const move = (): Promise<void> => Promise.reject(new Error('OpenCode refused session.move'))
  const { runs, worktree, planned } = await scene(repository, { move })
  const failures: (Failure | undefined)[] = []
  const outcome = await runs.run(planned, worktree, never, (failure) => {
    failures.push(failure)
    return Promise.resolve(DONE)
  })
  expect(failures).toEqual([
    { reason: 'error', message: 'no worktree could be made: OpenCode refused session.move' },
  ])
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
  await new Promise<void>((isAtWork) => {
    void later.run(killed, second, never, () => {
      isAtWork()
      return new Promise(() => {})
    })
  })
  repository.write('page.txt', 'one\n', second.root)
  const { worktree: _, ...rest } = { ...killed, ...DONE, endedAt: 2 } as typeof ended
  expect(await runs.recover(rest)).toBe(rest)
  const found = await runs.recover({ ...rest, worktree: second })
  expect(found.changes).toMatchObject({ type: 'committed', paths: ['page.txt'] })
  expect(await runs.apply(found, false)).toEqual({ type: 'applied', paths: ['page.txt'] })
  expect(readFileSync(join(repository.root, 'page.txt'), 'utf8')).toBe('one\n')
})

test('a tree that was made for a run which never received its prompt is removed', async () => {
  const repository = createRepository()
  const { runs, worktree, planned } = await scene(repository)
  await repository.worktrees.open(worktree, planned)
  const { startedAt: _, ...unstarted } = { ...planned, ...DONE, endedAt: 2 } as AgentTask & {
    readonly status: 'completed'
  }
  expect((await runs.recover(unstarted)).changes).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
  expect(await runs.recover(unstarted)).toBe(unstarted)
})

test('an end names the tasks of its session that changed the same files, while their branches are there', async () => {
  const repository = createRepository()
  const { runs, worktree, planned, tasks } = await scene(repository)
  const write = async (run: typeof planned, path: string): Promise<AgentTask> => {
    const own = { ...run, worktree: run === planned ? worktree : await runs.plan(run) }
    const outcome = await runs.run(own, own.worktree, never, () => {
      repository.write(path, `${run.id}\n`, own.worktree.root)
      return Promise.resolve(DONE)
    })
    const ended = { ...own, ...outcome, endedAt: 2 } as AgentTask
    tasks.set(ended.id, ended)
    return ended
  }
  const first = await write({ ...planned, parentID: 'ses_parent' }, 'page.txt')
  const another = (parentID = 'ses_parent'): typeof planned => ({ ...planned, ...task(), parentID })
  expect(first).not.toHaveProperty('changes.rivals')
  expect(await write(another(), 'page.txt')).toMatchObject({ changes: { rivals: [first.id] } })
  expect(await write(another(), 'other.txt')).not.toHaveProperty('changes.rivals')
  expect(await write(another('ses_other'), 'page.txt')).not.toHaveProperty('changes.rivals')
  repository.git(['worktree', 'remove', '--force', worktree.root])
  repository.git(['branch', '--quiet', '-D', worktree.branch])
  const last = await write(another(), 'page.txt')
  expect(last).toHaveProperty('changes.rivals')
  expect(last).not.toMatchObject({ changes: { rivals: expect.arrayContaining([first.id]) as unknown } })
})
