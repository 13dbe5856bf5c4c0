/**
 * Calls git with `execFile`. simple-git refuses `core.hooksPath`, and parses output that this plugin does not read. execa adds
 * nothing that is needed here. Each of them is larger than this whole folder.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'

export interface GitOptions {
  /** Environment variables to add, such as `GIT_INDEX_FILE`. */
  readonly env?: Readonly<Record<string, string>>
  /** Exit codes besides 0 that resolve the call instead of rejecting it. */
  readonly answers?: readonly number[]
  readonly input?: string | Uint8Array
  /** Returns each byte of the output as one character (latin1). */
  readonly binary?: boolean
  /** Maximum size of the output. */
  readonly maxBytes?: number
}

export interface GitAnswer {
  readonly code: number
  readonly stdout: string
}

/** Runs git in a directory. Rejects with a `GitError`. */
export type Git = (directory: string, args: readonly string[], options?: GitOptions) => Promise<GitAnswer>

/**
 * Why git failed: `missing` (there is no git), `timeout`, `locked` (another git is at work), `large` (its output exceeds
 * the maximum), `bad` (the received data is invalid, and a retry cannot help), or `refused`, with the first line of what it
 * wrote.
 */
export class GitError extends Error {
  readonly reason: 'missing' | 'timeout' | 'locked' | 'large' | 'bad' | 'refused'

  constructor(reason: GitError['reason'], message: string) {
    super(message)
    this.name = 'GitError'
    this.reason = reason
  }
}

/** Time limit of a call, in milliseconds: a filter such as LFS may download while a tree is filled. */
const LIMIT_MS = 300_000
/**
 * Listing worktrees fails while another process makes one, because the new one's record is empty for a moment (seen). The call
 * is repeated at once: starting git takes longer than that moment. `git worktree add` is not, because it has already made its
 * branch when it fails so.
 */
const HALF_MADE = /failed to read .*commondir/
const CALLS = 10
const LOCKED = /\.lock'?: File exists|could not lock/i
/** Maximum size of an answer: the names of changed files. */
const ANSWER_BYTES = 256 * 1024 * 1024

/**
 * Settings for each call: no hooks, no configured programs except filters, no background maintenance, and no signing, which
 * could ask for a passphrase. Paths are not quoted.
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

/**
 * Variables that are not passed on. OpenCode has them if a git hook started it; they select another repository or index, or
 * change patches.
 */
const FOREIGN =
  /^GIT_(?:DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|PREFIX|NAMESPACE|OBJECT_DIRECTORY|ALTERNATE_.*|CONFIG_PARAMETERS|DIFF_OPTS)$/

function environment(added: GitOptions['env']): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !FOREIGN.test(name))
  return {
    ...Object.fromEntries(own),
    // `failure` and `explained` recognise errors by their English text.
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
  const isAdd = args[0] === 'worktree' && args[1] === 'add'
  for (let calls = 1; ; calls += 1) {
    try {
      return await call(directory, args, options)
    } catch (error) {
      const isHalfMade = error instanceof GitError && HALF_MADE.test(error.message)
      if (!isHalfMade || isAdd || calls === CALLS) throw error
    }
  }
}

const call: Git = (directory, args, { env, answers = [], input, binary, maxBytes = ANSWER_BYTES } = {}) =>
  new Promise((resolve, reject) => {
    const limits = { timeout: LIMIT_MS, maxBuffer: maxBytes }
    const child = execFile(
      'git',
      [...SETTINGS, ...args],
      { cwd: directory, env: environment(env), encoding: binary ? 'latin1' : 'utf8', ...limits },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code
        if (error === null || (typeof code === 'number' && answers.includes(code)))
          resolve({ code: Number(code), stdout })
        else reject(failure(directory, args, error, stderr))
      },
    )
    // Ignore EPIPE: git may exit before it has read all input.
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
  // `execFile` reports ENOENT for a missing directory as for a missing program.
  if (code === 'ENOENT' && !existsSync(directory))
    return new GitError('refused', `${name}: ${directory} does not exist`)
  if (code === 'ENOENT') return new GitError('missing', `${name} could not be run: there is no git`)
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return new GitError('large', `${name}: ${message}`)
  if (killed) return new GitError('timeout', `${name} did not end within ${LIMIT_MS / 1000} s`)
  const lines = stderr.split('\n').filter((line) => line !== '')
  const line = lines.find((each) => /^(?:fatal|error): /.test(each)) ?? lines[0] ?? message
  const text = `${name}: ${line.replace(/^(?:fatal|error): /, '')}`
  return new GitError(LOCKED.test(stderr) || HALF_MADE.test(stderr) ? 'locked' : 'refused', text)
}

/** Splits output in which each field ends with a NUL (`-z`). */
export function fieldsOf({ stdout }: GitAnswer): string[] {
  return stdout.split('\0').slice(0, -1)
}
