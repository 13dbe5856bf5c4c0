/** Agents in worktrees for end-to-end tests, and a git that ends OpenCode at one of its calls. */
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { ModelRequest, Reply } from './script.ts'
import { backgroundTask, type Parent } from './stage.ts'

/** Returns the directory that a child's prompt names. */
export function directoryOf({ messages }: ModelRequest): string {
  const prompt = messages.find(({ role }) => role === 'user')?.content ?? ''
  return /worktree of your own, (\S+): /.exec(prompt)?.[1] ?? ''
}

/** Returns the directory of the first child of a parent. */
export function placeOf({ childRequests: [first] }: Parent): string {
  return first ? directoryOf(first) : ''
}

/** Answers as a child that writes a file by its tool, and reports what its working directory is. */
export function writes(path: string, content: string): (request: ModelRequest) => Reply {
  return (request) => {
    const results = request.messages.filter(({ role }) => role === 'tool')
    if (results.length === 0)
      return {
        tools: [
          { name: 'write', args: { filePath: join(directoryOf(request), path), content } },
          { name: 'bash', args: { command: 'pwd', description: 'The working directory' } },
        ],
      }
    return { text: `written in ${results.at(-1)?.content.trim() ?? ''}` }
  }
}

/** Launches an agent in a worktree, and resolves with the answer of the tool. */
export async function launchInTree(parent: Parent, description: string): Promise<string> {
  const [answer = ''] = await parent.call([backgroundTask(description, { worktree: true })])
  return answer
}

export const idOf = (answer: string): string => /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer

/** A git that waits at one of its calls. */
export interface HeldGit {
  /** For who calls it: puts it before the git of the machine. */
  readonly env: Readonly<Record<string, string>>
  /** Has the next call whose arguments contain `what` wait until `release`. */
  hold(what: string): void
  /** Whether that call waits. */
  readonly isReached: boolean
  release(): void
  close(): void
}

const WAITING = `#!/bin/sh
here="\${0%/*}"
PATH="\${PATH#"$here":}"
if [ -f "$here/held" ]; then
  read -r what <"$here/held"
  case "$*" in
    *"$what"*)
      : >"$here/reached"
      while [ -f "$here/held" ]; do sleep 0.05; done
  esac
fi
exec git "$@"
`

export function heldGit(): HeldGit {
  const { directory, env, close } = gitScript(WAITING)
  return {
    env,
    hold: (what) => writeFileSync(join(directory, 'held'), `${what}\n`),
    get isReached() {
      return existsSync(join(directory, 'reached'))
    },
    release: () => rmSync(join(directory, 'held'), { force: true }),
    close,
  }
}

/** Writes a script that stands before the git of the machine. */
function gitScript(text: string) {
  const directory = mkdtempSync(join(tmpdir(), 'opencode-git-'))
  writeFileSync(join(directory, 'git'), text)
  chmodSync(join(directory, 'git'), 0o755)
  return {
    directory,
    env: { PATH: [directory, process.env['PATH']].join(delimiter) },
    close: () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** A git that ends the process which called it, as `kill -9` does. */
export interface DeadlyGit {
  /** For the server: puts it before the git of the machine. */
  readonly env: Readonly<Record<string, string>>
  /** Has the next call whose arguments contain `what` end its caller, before or after git has done it. */
  arm(when: 'before' | 'after', what: string): void
  /** Whether it waits for that call. */
  readonly isArmed: boolean
  close(): void
}

const SCRIPT = `#!/bin/sh
here="\${0%/*}"
PATH="\${PATH#"$here":}"
if [ -f "$here/armed" ]; then
  { read -r when; read -r what; } <"$here/armed"
  case "$*" in
    *"$what"*)
      [ "$when" = before ] || git "$@"
      rm "$here/armed"
      kill -9 "$PPID"
      exit 1
  esac
fi
exec git "$@"
`

export function deadlyGit(): DeadlyGit {
  const { directory, env, close } = gitScript(SCRIPT)
  const armed = join(directory, 'armed')
  return {
    env,
    arm: (when, what) => writeFileSync(armed, `${when}\n${what}\n`),
    get isArmed() {
      return existsSync(armed)
    },
    close,
  }
}
