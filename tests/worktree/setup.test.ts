import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { processKey } from '../../src/task/owner.ts'
import { isRunning } from '../../src/work/command/files.ts'
import type { Failure, Outcome } from '../../src/task/state.ts'
import type { AgentTask } from '../../src/task/task.ts'
import { createRepository, type Repository } from './repository.ts'
import { DONE, scene, type Scene } from './scene.ts'

const never = new AbortController().signal

/** A repository that ignores the files of its setups. */
function withIgnored(): Repository {
  const repository = createRepository()
  repository.write('.gitignore', 'modules/\n*.log\n')
  repository.commit()
  return repository
}

/** Runs a task; resolves with why its agent was not started, and what the run left. */
async function run(
  { runs, worktree, planned }: Scene,
  work: () => void = () => {},
  { signal = never, number = 1 }: { readonly signal?: AbortSignal; readonly number?: number } = {},
): Promise<{ readonly failure: Failure | undefined; readonly changes: Outcome['changes'] }> {
  let seen: Failure | undefined
  const { changes } = await runs.run({ ...planned, run: number }, worktree, signal, (failure) => {
    seen = failure
    if (!failure) work()
    return Promise.resolve(DONE)
  })
  return { failure: seen, changes }
}

const settingUp = (setup: string, commands: object = {}): { readonly options: object } => ({
  options: { worktree: { setup }, commands: { killGraceMs: 300, ...commands } },
})

test('the setup runs in the new tree before the agent, with its output in files', async () => {
  const repository = withIgnored()
  const line = 'mkdir modules && cat README.md > modules/copy && pwd && echo careful >&2'
  const stage = await scene(repository, settingUp(line))
  const { worktree, planned, commands } = stage
  const seen: string[] = []
  const { failure, changes } = await run(stage, () => {
    seen.push(repository.read('modules/copy', worktree.root))
  })
  expect(failure).toBeUndefined()
  expect(seen).toEqual(['# A project\n'])
  const files = join(commands, `${planned.id}-setup-1`)
  expect(readFileSync(join(files, 'stdout'), 'utf8')).toBe(`${worktree.root}\n`)
  expect(readFileSync(join(files, 'stderr'), 'utf8')).toBe('careful\n')
  // Its ignored files keep no tree.
  expect(changes).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
})

test('the setup runs in the directory of the parent within its checkout', async () => {
  const repository = withIgnored()
  repository.write('packages/one/a.txt', 'a\n')
  const stage = await scene(repository, settingUp('cat a.txt > run.log'))
  const directory = join(stage.worktree.root, 'packages/one')
  const { worktree } = stage
  const inner = { ...stage, worktree: { ...worktree, directory } }
  const seen: string[] = []
  await run(inner, () => void seen.push(repository.read('packages/one/run.log', worktree.root)))
  expect(seen).toEqual(['a\n'])
})

test('an agent is not started after a setup that fails, and the last lines of its output are told', async () => {
  const repository = withIgnored()
  const line = 'mkdir modules; echo half > modules/half; seq 1 50; echo no such package >&2; exit 3'
  const stage = await scene(repository, settingUp(line))
  const { failure, changes } = await run(stage)
  const { worktree, planned, commands, log } = stage
  expect(failure?.reason).toBe('error')
  expect(failure?.message).toContain(
    'worktree.setup ended with exit code 3. Correct that, and continue the task.',
  )
  expect(failure?.message).toContain(`All of its output: ${join(commands, `${planned.id}-setup-1`)}\n43\n`)
  expect(failure?.message).toMatch(/\n50\nno such package$/)
  expect(changes).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
  expect(log.join()).not.toContain('move to')
})

test('a setup that fails keeps a tree in which it has changed a file that is not ignored', async () => {
  const repository = withIgnored()
  const stage = await scene(
    repository,
    settingUp('mkdir modules; echo a > modules/a; echo b > lock.txt; false'),
  )
  const { failure, changes } = await run(stage)
  expect(failure?.message).toContain('exit code 1')
  expect(changes).toMatchObject({ type: 'committed', paths: ['lock.txt'] })
  expect(repository.read('lock.txt', stage.worktree.root)).toBe('b\n')
})

test('a setup that hangs is killed with its processes after the time limit of commands', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, settingUp('echo begun; sleep 600 & sleep 600', { timeoutMs: 6000 }))
  const { failure, changes } = await run(stage)
  expect(failure?.reason).toBe('timeout')
  expect(failure?.message).toContain(
    'worktree.setup was killed after 6.0s, which is its limit (commands.timeoutMs)',
  )
  expect(failure?.message).toMatch(/\nbegun$/)
  expect(changes).toEqual({ type: 'none' })
})

test('a setup that writes more than maxOutputBytes is killed', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, settingUp('yes', { maxOutputBytes: 5000 }))
  const { failure } = await run(stage)
  expect(failure?.message).toContain('was killed after more than 5000 bytes of output')
})

test('a setup ends with its shell, and the processes that it leaves are killed', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, settingUp('(sleep 600 && echo late > late.txt) & echo $! > pid.log'))
  let pid = 0
  await run(stage, () => (pid = Number(repository.read('pid.log', stage.worktree.root))))
  expect(pid).toBeGreaterThan(0)
  expect(processKey(pid)).toBeUndefined()
})

test.each(['stop', 'disposal'] as const)('a %s kills the setup', async (what) => {
  const repository = withIgnored()
  const ends = { stop: new AbortController(), disposal: new AbortController() }
  const stage = await scene(repository, {
    ...settingUp('touch modules.log; sleep 600'),
    disposal: ends.disposal.signal,
  })
  const running = run(stage, () => {}, { signal: ends.stop.signal })
  await expect.poll(() => existsSync(join(stage.worktree.root, 'modules.log'))).toBe(true)
  ends[what].abort()
  const { failure, changes } = await running
  expect(failure).toEqual({ reason: 'interrupted', message: 'worktree.setup was stopped' })
  expect(changes).toEqual({ type: 'none' })
})

test('the next run of a task sets up its tree only if that was made anew, or the setup has failed', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, settingUp('echo set up >> times.txt; test -e README.md'))
  const { worktree, runs } = stage
  const { root } = worktree
  expect(await runs.isSetupDue(worktree)).toBe(true)
  await run(stage)
  expect(repository.read('times.txt', root)).toBe('set up\n')
  expect(await runs.isSetupDue(worktree)).toBe(false)
  await run(stage, () => {}, { number: 2 })
  expect(repository.read('times.txt', root)).toBe('set up\n')
  repository.git(['worktree', 'remove', root])
  expect(await runs.isSetupDue(worktree)).toBe(true)
  await run(stage, () => repository.git(['rm', '--quiet', 'README.md'], root), { number: 3 })
  expect(repository.read('times.txt', root)).toBe('set up\nset up\n')
  repository.git(['worktree', 'remove', root])
  expect((await run(stage, () => {}, { number: 4 })).failure?.message).toContain('exit code 1')
  expect(await runs.isSetupDue(worktree)).toBe(true)
})

test('a run that is resumed is not set up: its agent is at work', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, settingUp('exit 1'))
  const resumed = {
    ...stage,
    planned: { ...stage.planned, status: 'running' } as unknown as Scene['planned'],
  }
  expect((await run(resumed)).failure).toBeUndefined()
})

test('an ignored file of the agent keeps the tree, also in a directory of the setup, and is named', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, settingUp('mkdir -p modules/a; echo a > modules/a/a; echo b > b.log'))
  const { root } = stage.worktree
  const { changes } = await run(stage, () => {
    repository.write('modules/a/result', 'work\n', root)
    repository.write('b.log', 'work\n', root)
  })
  expect(changes).toEqual({ type: 'kept', why: 'it has ignored files: b.log, modules/a/result' })
  expect(repository.read('modules/a/result', root)).toBe('work\n')
})

test('a setup whose process of OpenCode was killed is killed by the recovery, and its tree goes', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, settingUp('mkdir modules; echo a > modules/a; sleep 600'))
  const { runs, worktree, planned, commands } = stage
  void run(stage)
  await expect.poll(() => existsSync(join(worktree.root, 'modules/a'))).toBe(true)
  const files = join(commands, `${planned.id}-setup-1`)
  await expect.poll(() => isRunning(files)).toBe(true)
  const ended = { ...planned, ...DONE, endedAt: 2 } as AgentTask & { readonly status: 'completed' }
  const recovered = await runs.recover(ended)
  expect(isRunning(files)).toBe(false)
  expect(recovered.changes).toEqual({ type: 'none' })
  expect(existsSync(worktree.root)).toBe(false)
})

test('a setup without a shell fails its run, and leaves no files', async () => {
  const repository = withIgnored()
  const stage = await scene(repository, { ...settingUp('true'), shell: '/missing' })
  const { failure } = await run(stage)
  expect(failure?.message).toContain('worktree.setup could not be started: ENOENT')
  expect(existsSync(stage.commands)).toBe(false)
})
