import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { MachineLink } from '../../../src/machines/machine-link.ts'
import { Turns } from '../../../src/worktree/turns.ts'
import { dropTree, fetchTree, openTree } from '../../../src/machines/remote-tree.ts'
import { git } from '../../../src/worktree/git.ts'
import type { Worktree } from '../../../src/work/agent/agent-work.ts'

// The machine is this one: it has a clone of the repository, and each script has a process group of its own, as OpenCode has it.
const ID = 'bg_00000001'
const BRANCH = `opencode-background/${ID}-write`
const FILES = ['a.txt', 'b.txt', 'c/d.txt']
const TASK = { id: ID, run: 1, description: 'write' }
let home: string
let here: string
let there: string
let worktree: Worktree
let shells: ChildProcess[]
let stateHome: string | undefined

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'opencode-remote-tree-'))
  stateHome = process.env['XDG_STATE_HOME']
  process.env['XDG_STATE_HOME'] = join(home, 'state')
  here = join(home, 'here')
  there = join(home, 'there')
  shells = []
  mkdirSync(join(here, 'c'), { recursive: true })
  for (const file of FILES) writeFileSync(join(here, file), `${file}\n`)
  gitIn(home, 'init', '--quiet', here)
  gitIn(here, 'add', '--all')
  gitIn(here, 'commit', '--quiet', '--message', 'base')
  gitIn(home, 'clone', '--quiet', here, there)
  const commit = gitIn(here, 'rev-parse', 'HEAD')
  const base = { commit, head: commit, changed: 0, created: 0 }
  worktree = { root: here, directory: here, checkout: here, branch: BRANCH, base }
})
afterEach(() => {
  for (const { pid } of shells) kill(pid)
  if (stateHome === undefined) delete process.env['XDG_STATE_HOME']
  else process.env['XDG_STATE_HOME'] = stateHome
  rmSync(home, { recursive: true })
})

function gitIn(directory: string, ...args: readonly string[]): string {
  const identity = ['-c', 'user.name=A', '-c', 'user.email=a@example.com']
  return execFileSync('git', ['-C', directory, ...identity, ...args])
    .toString()
    .trim()
}

function kill(pid: number | undefined): void {
  try {
    process.kill(-(pid ?? 0), 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** @param environment of its scripts */
function linkTo(environment: Readonly<Record<string, string>> = {}): MachineLink {
  return {
    name: 'big',
    scripts: new Turns(),
    options: { directory: there },
    createSession: () => Promise.resolve('ses_files'),
    deleteSession: () => Promise.resolve(),
    shell: (_: string, command: string) =>
      new Promise<string>((resolve) => {
        const shell = spawn('bash', ['-c', command], {
          detached: true,
          env: { ...process.env, ...environment },
        })
        shells.push(shell)
        let output = ''
        shell.stdout.on('data', (data) => (output += data))
        shell.on('close', () => resolve(output))
      }),
  } as unknown as MachineLink
}

/** Returns a machine on which `git` does this first for a command line that matches. `halt` is a power cut: it ends the whole script. */
function linkWith(
  pattern: string,
  first: string,
  environment: Readonly<Record<string, string>> = {},
): MachineLink {
  const programs = join(home, 'programs')
  mkdirSync(programs, { recursive: true })
  const real = execFileSync('sh', ['-c', 'command -v git']).toString().trim()
  const script = `#!/bin/bash
real() { ${real} "$@"; }
halt() { kill -s KILL 0; }
case "$*" in *${pattern}*) ${first} ;; esac
exec ${real} "$@"
`
  writeFileSync(join(programs, 'git'), script, { mode: 0o755 })
  return linkTo({ ...environment, PATH: `${programs}:${process.env['PATH']}` })
}

const rootOf = (): string => {
  const trees = join(home, 'state/opencode-background/worktrees')
  const [project = ''] = readdirSync(trees)
  return join(trees, project, ID)
}
const changesOf = (commit: string | undefined): string =>
  gitIn(here, 'diff', '--name-status', 'HEAD', String(commit))

test.each([
  ['before git wrote a file', 'real "$@" --no-checkout; halt'],
  [
    'after git wrote some files',
    `real "$@"; rm "$(real worktree list | sed -n 's,\\(.*/${ID}\\) .*,\\1,p')"/a.txt; halt`,
  ],
  [
    'while git removed them again',
    `real "$@"; rm -rf "$(real rev-parse --git-common-dir)/worktrees" "$XDG_STATE_HOME"/*/worktrees/*/${ID}/.git; halt`,
  ],
])('a tree whose making was cut off %s is made anew', async (_, first) => {
  const cutOff = openTree(git, linkWith('worktree\\ add', first), TASK, worktree)
  await expect(cutOff).rejects.toMatchObject({ reason: 'noAnswer' })
  expect(existsSync(rootOf())).toBe(true)
  const { root } = await openTree(git, linkTo(), TASK, worktree)
  writeFileSync(join(root, 'new.txt'), 'new\n')
  expect(changesOf(await fetchTree(git, linkTo(), TASK, worktree))).toBe('A\tnew.txt')
})

test('a tree whose making was cut off is no end, and goes', async () => {
  const cutOff = openTree(git, linkWith('worktree\\ add', 'real "$@" --no-checkout; halt'), TASK, worktree)
  await expect(cutOff).rejects.toMatchObject({ reason: 'noAnswer' })
  expect(await fetchTree(git, linkTo(), TASK, worktree)).toBeUndefined()
  expect(existsSync(rootOf())).toBe(false)
  expect(gitIn(there, 'worktree', 'list').split('\n')).toHaveLength(1)
})

test('a tree whose removal was cut off is made anew for the next run', async () => {
  const { root } = await openTree(git, linkTo(), TASK, worktree)
  const cutOff = dropTree(linkWith('worktree\\ remove', `rm "${root}/a.txt"; halt`), ID, BRANCH)
  await expect(cutOff).rejects.toMatchObject({ reason: 'noAnswer' })
  await openTree(git, linkTo(), TASK, worktree)
  writeFileSync(join(root, 'new.txt'), 'new\n')
  expect(changesOf(await fetchTree(git, linkTo(), TASK, worktree))).toBe('A\tnew.txt')
})

test('a tree with work is continued, also without its index', async () => {
  const { root } = await openTree(git, linkTo(), TASK, worktree)
  writeFileSync(join(root, 'new.txt'), 'new\n')
  rmSync(gitIn(root, 'rev-parse', '--path-format=absolute', '--git-path', 'index'))
  expect((await openTree(git, linkTo(), TASK, worktree)).root).toBe(root)
  expect(changesOf(await fetchTree(git, linkTo(), TASK, worktree))).toBe('A\tnew.txt')
})

test('a directory that is no tree of git keeps its files, and is named', async () => {
  const { root } = await openTree(git, linkTo(), TASK, worktree)
  rmSync(join(root, '.git'))
  const message = `${root} exists, and is no worktree of ${there}: move it away`
  await expect(openTree(git, linkTo(), TASK, worktree)).rejects.toThrow(message)
  // The refusal has not marked the directory as git's.
  await expect(openTree(git, linkTo(), TASK, worktree)).rejects.toThrow(message)
  expect(existsSync(join(root, 'a.txt'))).toBe(true)
})

test('what a power cut leaves of a fetch does not keep the next one', async () => {
  const { root } = await openTree(git, linkTo(), TASK, worktree)
  const index = gitIn(root, 'rev-parse', '--path-format=absolute', '--git-path', 'index')
  writeFileSync(`${index}.opencode-background.lock`, '')
  writeFileSync(join(there, `.git/opencode-background-${ID}.out.lock`), '')
  writeFileSync(join(there, `.git/refs/opencode-background/${ID}/out.lock`), '')
  writeFileSync(join(root, 'new.txt'), 'new\n')
  expect(changesOf(await fetchTree(git, linkTo(), TASK, worktree))).toBe('A\tnew.txt')
})

test('the end is fetched after a checkpoint that is under way, with the files written meanwhile', async () => {
  const { root } = await openTree(git, linkTo(), TASK, worktree)
  writeFileSync(join(root, 'new.txt'), 'new\n')
  const link = linkWith(
    'add\\ --all',
    'touch "$HOME/begun"; while [ -e "$HOME/begun" ]; do sleep 0.1; done',
    { HOME: home },
  )
  const checkpoint = fetchTree(git, link, TASK, worktree)
  await expect.poll(() => existsSync(join(home, 'begun'))).toBe(true)
  writeFileSync(join(root, 'last.txt'), 'last\n')
  const end = fetchTree(git, link, TASK, worktree)
  rmSync(join(home, 'begun'))
  rmSync(join(home, 'programs/git'))
  expect(changesOf(await end)).toBe('A\tlast.txt\nA\tnew.txt')
  expect(gitIn(here, 'merge-base', '--all', String(await checkpoint), 'HEAD')).toBe(worktree.base.commit)
})

test('a script that goes on without its OpenCode ends before the next one of its task', async () => {
  const { root } = await openTree(git, linkTo(), TASK, worktree)
  writeFileSync(join(root, 'new.txt'), 'new\n')
  const begun = join(home, 'begun')
  const held = linkWith('add\\ --all', `touch ${begun}; trap '' TERM; sleep 300`)
  const checkpoint = fetchTree(git, held, TASK, worktree).catch((error: unknown) => error)
  await expect.poll(() => existsSync(begun)).toBe(true)
  expect(changesOf(await fetchTree(git, linkTo(), TASK, worktree))).toBe('A\tnew.txt')
  expect(await checkpoint).toMatchObject({ reason: 'noAnswer' })
})

// Apple's git has its whole path as its name, and `ps` there cuts lines off after 80 columns, as everywhere with such a variable.
test.each([
  ['its name', 'git'],
  ['its whole path', '/usr/bin/git'],
])(
  'a git with %s that still removes what it has begun ends before the tree is made anew',
  async (_, name) => {
    const begun = join(home, 'begun')
    // The shells of its script are gone, as after an abort.
    const shellsGone = 'kill -s KILL $(ps -o ppid= -p $PPID) $PPID'
    const held = linkWith(
      'worktree\\ add',
      `${shellsGone}; echo $$ >${begun}; trap '' TERM; exec -a "${name} $*" sleep 300`,
    )
    const cutOff = openTree(git, held, TASK, worktree).catch((error: unknown) => error)
    await expect.poll(() => existsSync(begun) && readFileSync(begun, 'utf8')).toMatch(/\n/)
    expect(await cutOff).toMatchObject({ reason: 'noAnswer' })
    await openTree(git, linkTo({ COLUMNS: '80' }), TASK, worktree)
    // A killed process without a parent stays as a zombie where the first process collects none.
    const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', readFileSync(begun, 'utf8').trim()])
    expect(stdout.toString()).toMatch(/^(?:Z|$)/)
  },
)
