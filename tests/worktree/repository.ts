/** Repositories of git for tests, each with a home of its own. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { parseOptions, type Options } from '../../src/config.ts'
import { systemOwners } from '../../src/task/owner.ts'
import { git, type Git } from '../../src/worktree/git.ts'
import { Worktrees } from '../../src/worktree/worktrees.ts'

export interface Repository {
  /** The checkout of the parent. */
  readonly root: string
  /** Where the worktrees are. */
  readonly state: string
  readonly worktrees: Worktrees
  /** Runs git in the checkout, or in `directory`. */
  git(args: readonly string[], directory?: string): string
  write(path: string, text: string, directory?: string): void
  read(path: string, directory?: string): string
  commit(message?: string, directory?: string): void
  /** What no call but an apply may change: status, index, HEAD, stashes and the working files. */
  standing(): { readonly index: string }
  /** The refs of tasks and branches. */
  refs(): string[]
}

/** The options of worktrees without those of a user. */
export const DEFAULTS = parseOptions({}).options.worktree

type TreePorts = ConstructorParameters<typeof Worktrees>[0]

/** Owners whose processes still run. */
const owners = { ...systemOwners('tests', '/project'), isGone: () => false }

export function treesOf(
  by: Git,
  state: string,
  { ports, ...options }: Partial<Options['worktree']> & { readonly ports?: Partial<TreePorts> } = {},
): Worktrees {
  const [hasEnded, isUsed] = [() => false, () => false]
  const all: TreePorts = { git: by, directory: state, hasEnded, isUsed, owners, clock: systemClock, ...ports }
  return new Worktrees(all, { ...DEFAULTS, ...options })
}

const IDENTITY = ['-c', 'user.name=Test', '-c', 'user.email=test@localhost']

const REMOVED = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }
const homes: string[] = []

/** Removes the repositories so far. */
export function removeRepositories(): void {
  vi.unstubAllEnvs()
  for (const path of homes.splice(0)) rmSync(path, REMOVED)
}

afterEach(removeRepositories)

/** Creates a directory that is removed after the test, and isolates git from the developer's configuration. */
export function temporary(): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-worktree-')))
  vi.stubEnv('HOME', path)
  vi.stubEnv('XDG_CONFIG_HOME', join(path, 'config'))
  vi.stubEnv('GIT_CONFIG_NOSYSTEM', '1')
  homes.push(path)
  return path
}

/** Creates a repository with one commit of a file `README.md`; `directory`: its name. */
export function createRepository(directory = 'project'): Repository {
  const home = temporary()
  const root = join(home, directory)
  const state = join(home, 'state')
  mkdirSync(root)

  function run(args: readonly string[], at = root): string {
    return execFileSync('git', [...IDENTITY, ...args], { cwd: at, stdio: 'pipe' }).toString()
  }
  function write(path: string, text: string, at = root): void {
    mkdirSync(dirname(join(at, path)), { recursive: true })
    writeFileSync(join(at, path), text)
  }
  const repository: Repository = {
    root,
    state,
    worktrees: treesOf(git, state),
    git: run,
    write,
    read: (path, at = root) => readFileSync(join(at, path), 'utf8'),
    commit(message = 'A change', at = root) {
      run(['add', '--all'], at)
      run(['commit', '--quiet', '--message', message], at)
    },
    standing: () => ({
      // Before git is asked, because that may write the index.
      index: readFileSync(join(root, '.git', 'index')).toString('hex'),
      status: run(['--no-optional-locks', 'status', '--porcelain=v2', '--branch', '--ignored']),
      head: readFileSync(join(root, '.git', 'HEAD'), 'utf8'),
      commit: run(['rev-parse', 'HEAD']),
      stashes: run(['stash', 'list']),
      files: Object.fromEntries(
        filesOf(root).map((path) => [path, readFileSync(join(root, path)).toString('hex')]),
      ),
    }),
    refs: () =>
      run(['for-each-ref', '--format=%(refname)'])
        .split('\n')
        .filter((name) => name.includes('opencode-background')),
  }
  run(['init', '--quiet', '--initial-branch=main'])
  write('README.md', '# A project\n')
  repository.commit('First')
  return repository
}

/** Copies the files of a repository and of its trees; returns what puts them back in place of what is there then. */
export function keep({ root }: Repository): () => void {
  const home = dirname(root)
  const kept = `${home}-kept`
  homes.push(kept)
  const copy = (from: string, to: string): void => {
    rmSync(to, REMOVED)
    cpSync(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  }
  copy(home, kept)
  return () => copy(kept, home)
}

function filesOf(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => !path.startsWith('.git/'))
}

/** The names of lock files in the directory of the repository. */
export function locksOf({ root }: Repository): string[] {
  return readdirSync(join(root, '.git'), { recursive: true })
    .map(String)
    .filter((path) => path.endsWith('.lock'))
}

let made = 0

/** Returns a task with an id of its own. */
export function task(description = 'Write a page'): { id: string; run: number; description: string } {
  made += 1
  return { id: `bg_${made.toString(16).padStart(8, '0')}`, run: 1, description }
}

/** Returns git's name for a file with this content. */
export function hashOf(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
}
