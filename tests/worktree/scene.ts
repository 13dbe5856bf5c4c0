/** A task with a planned worktree, and what runs it, on a fake OpenCode and real git and processes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { parseOptions, type OptionsInput } from '../../src/config.ts'
import type { Opencode, Session } from '../../src/host/opencode.ts'
import { systemOwners } from '../../src/task/owner.ts'
import type { Outcome } from '../../src/task/state.ts'
import type { AgentTask, Task } from '../../src/task/task.ts'
import { NO_USAGE } from '../../src/task/state.ts'
import type { Worktree } from '../../src/work/agent/agent-work.ts'
import { isRunning, readProcessIdentity } from '../../src/work/command/files.ts'
import { attach } from '../../src/work/command/process.ts'
import { start } from '../../src/work/command/process-start.ts'
import { markTold } from '../../src/work/command/retention.ts'
import { WorktreeRuns, type WorktreeFollower } from '../../src/worktree/worktree-runs.ts'
import { task, type Repository } from './repository.ts'

export const DONE: Outcome = { status: 'completed', text: 'done', usage: NO_USAGE }

const atWork: WorktreeRuns[] = []

// Before the hook that removes the repositories, because hooks after a test run in reverse order.
afterEach(async () => {
  for (const runs of atWork.splice(0)) await runs.cleaned
})

interface SceneOptions {
  readonly move?: () => Promise<void>
  readonly follow?: WorktreeFollower
  readonly options?: OptionsInput
  readonly disposal?: AbortSignal
  readonly shell?: string
}

export interface Scene {
  readonly runs: WorktreeRuns
  readonly worktree: Worktree
  readonly planned: AgentTask & { readonly status: 'starting' }
  /** The calls of OpenCode. */
  readonly log: string[]
  /** The tasks that the store has. */
  readonly tasks: Map<string, Task>
  /** Contains the files of commands. */
  readonly commands: string
}

/** Creates a task with a planned tree, and what runs it. */
export async function scene(repository: Repository, changes: SceneOptions = {}): Promise<Scene> {
  const log: string[] = []
  const move = changes.move ?? (() => Promise.resolve())
  const opencode = {
    include: (directory: string) => {
      log.push(`include ${directory}`)
      return () => log.push('exclude')
    },
    session: () => Promise.resolve({ directory: repository.root } as Session),
    moveSession: (_: string, directory: string) => {
      const files = existsSync(join(directory, 'README.md')) ? 'its files' : 'no files'
      log.push(directory === repository.root ? 'move back' : `move to a tree with ${files}`)
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
  const tasks = new Map<string, Task>()
  const commands = `${repository.state}-commands`
  const ports = {
    opencode,
    follow,
    clock: systemClock,
    store: { get: (id: string) => tasks.get(id), all: () => tasks.values() },
    owners: systemOwners('tests', repository.root),
    log: { warn: (message: string) => log.push(message) },
    shellEnv: { of: () => Promise.resolve({}) },
    machine: {
      root: commands,
      shell: changes.shell ?? '/bin/sh',
      env: process.env,
      onTermination: () => () => {},
    },
    processes: { start, attach, isRunning, readProcessIdentity, markTold },
    disposal: changes.disposal ?? new AbortController().signal,
    places: { directory: repository.root, root: repository.state },
  }
  const runs = new WorktreeRuns(ports, parseOptions(changes.options).options)
  atWork.push(runs)
  const run = task()
  const worktree = await runs.plan(run)
  const planned = { ...run, kind: 'agent', sessionID: 'ses_1', startedAt: 1, worktree } as AgentTask
  return {
    runs,
    worktree,
    planned: { ...planned, status: 'starting' } as Scene['planned'],
    log,
    commands,
    tasks,
  }
}
