/**
 * Calls git. A wrapper such as simple-git parses output that is not read here, and refuses `core.hooksPath`; what a wrapper
 * of processes such as execa adds to `execFile` is not needed either, and each weighs more than this folder.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'

export interface GitOptions {
  /** Variables beside those of this process, such as another index. */
  readonly env?: Readonly<Record<string, string>>
  /** Exit codes other than 0 that are an answer. */
  readonly answers?: readonly number[]
  readonly input?: string
}

export interface GitAnswer {
  readonly code: number
  readonly stdout: string
}

/** Runs git in a directory. Rejects with a `GitError`. */
export type Git = (directory: string, args: readonly string[], options?: GitOptions) => Promise<GitAnswer>

/**
 * Why git failed: `missing` (there is no git), `timeout`, `locked` (another git is at work), or `refused`, with the
 * first line of what it wrote.
 */
export class GitError extends Error {
  readonly reason: 'missing' | 'timeout' | 'locked' | 'refused'

  constructor(reason: GitError['reason'], message: string) {
    super(message)
    this.name = 'GitError'
    this.reason = reason
  }
}

/** Time limit of a call, in milliseconds: a filter such as LFS may download while a tree is filled. */
const LIMIT_MS = 300_000
/**
 * A call that lists the worktrees fails while another process makes one, whose record is empty for a moment (seen). It is
 * repeated at once, because to start a git takes longer than that moment; but not `git worktree add`, which has made its
 * branch by then.
 */
const HALF_MADE = /failed to read .*commondir/
const CALLS = 10
const LOCKED = /\.lock'?: File exists|could not lock/i
/** Maximum size of an answer: the names of changed files. */
const ANSWER_BYTES = 256 * 1024 * 1024

/**
 * Settings of each call: no hooks, no programs of the configuration beside its filters, no background work, and no signature
 * that asks for a passphrase. Names are plain UTF-8.
 */
const SETTINGS = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.splitIndex=false',
  'core.safecrlf=false',
  'core.quotePath=false',
  'commit.gpgSign=false',
  'gc.auto=0',
  'maintenance.auto=false',
].flatMap((setting) => ['-c', setting])

/** Variables by which the caller of OpenCode, such as a hook of git, points at another repository or index, or changes a patch. */
const FOREIGN =
  /^GIT_(?:DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|PREFIX|NAMESPACE|OBJECT_DIRECTORY|ALTERNATE_.*|CONFIG_PARAMETERS|DIFF_OPTS)$/

function environment(added: GitOptions['env']): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !FOREIGN.test(name))
  return {
    ...Object.fromEntries(own),
    // Errors are told apart by their words.
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: 'true',
    SSH_ASKPASS: 'true',
    // Otherwise ssh asks the terminal for a passphrase, and waits.
    SSH_ASKPASS_REQUIRE: 'force',
    // Reading a checkout must not rewrite its index.
    GIT_OPTIONAL_LOCKS: '0',
    ...added,
  }
}

/** Runs the git of this machine. */
export const git: Git = async (directory, args, options) => {
  for (let calls = 1; ; calls += 1) {
    try {
      return await call(directory, args, options)
    } catch (error) {
      const isHalfMade = error instanceof GitError && HALF_MADE.test(error.message)
      if (!isHalfMade || args.includes('add') || calls === CALLS) throw error
    }
  }
}

const call: Git = (directory, args, { env, answers = [], input } = {}) =>
  new Promise((resolve, reject) => {
    const child = execFile(
      'git',
      [...SETTINGS, ...args],
      { cwd: directory, env: environment(env), timeout: LIMIT_MS, maxBuffer: ANSWER_BYTES },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code
        if (error === null || (typeof code === 'number' && answers.includes(code)))
          resolve({ code: Number(code), stdout })
        else reject(failure(directory, args, error, stderr))
      },
    )
    // git may end before it has read all of it.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })

type ExecError = Error & { readonly code?: string | number | null | undefined; readonly killed?: boolean }

function failure(
  directory: string,
  args: readonly string[],
  { code, killed, message }: ExecError,
  stderr: string,
): GitError {
  const name = `git ${args[0] ?? ''}`
  // The system reports a missing directory like a missing program.
  if (code === 'ENOENT' && !existsSync(directory))
    return new GitError('refused', `${name}: ${directory} does not exist`)
  if (code === 'ENOENT') return new GitError('missing', `${name} could not be run: there is no git`)
  if (killed) return new GitError('timeout', `${name} did not end within ${LIMIT_MS / 1000} s`)
  const lines = stderr.split('\n').filter((line) => line !== '')
  const line = lines.find((each) => /^(?:fatal|error): /.test(each)) ?? lines[0] ?? message
  const text = `${name}: ${line.replace(/^(?:fatal|error): /, '')}`
  return new GitError(LOCKED.test(stderr) || HALF_MADE.test(stderr) ? 'locked' : 'refused', text)
}

/** Returns the fields of an answer in which each is followed by a NUL. */
export function fieldsOf({ stdout }: GitAnswer): string[] {
  return stdout.split('\0').slice(0, -1)
}
