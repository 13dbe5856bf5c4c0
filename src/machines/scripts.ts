/**
 * Runs scripts on another machine by the shell of a session there (contract 18.1), which is deleted afterwards. Bytes travel as
 * base64 in pieces, because a command line is limited to 128 KB (contract 18.2); its output is not.
 */
import { randomUUID } from 'node:crypto'
import { HostError } from '../host/opencode.ts'
import type { MachineLink } from './machine-link.ts'

/** Runs a script of the POSIX shell, and returns what it printed. Rejects with a `ScriptError`, and with a `HostError`. */
export type RunScript = (script: string, data?: string) => Promise<string>

/** A script has failed there; the message is the last line that it printed. */
export class ScriptError extends Error {}

/** The size of a piece: its base64 must fit into a command line. */
const IN_BYTES = 72_000
const OUT_BYTES = 1_500_000
/** How often, once a second, a script checks whether the earlier ones that it killed have ended. */
const END_CHECKS = 10

/** The first lines of each script, whose data is `$1`. They keep git from running programs that its clone configures. */
const PRELUDE = `exec 0</dev/null 2>&1
set -e
shift
export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_PREFIX
g() { git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.quotePath=false -c commit.gpgSign=false -c gc.auto=0 -c maintenance.auto=false "$@"; }
`

/**
 * The next lines of the first script of a session: they end what earlier scripts of the task still run, in the process groups
 * that OpenCode gave them (contract 18.7). OpenCode cannot say what still runs: a session whose script continues counts as idle
 * after an abort, and a killed OpenCode leaves its scripts running. A git that cleans up after a signal outlives its shell.
 * Without `-ww`, `ps` cuts lines off at `COLUMNS`, and on macOS at 80; the name of Apple's git is its whole path.
 */
function endEarlier(taskID: string): string {
  return `mine=$(ps -o pgid= -p $$ 2>/dev/null | tr -d ' ')
earlier() {
  ps -A -ww -o pgid= -o args= 2>/dev/null | sed -n -e 's/^ *\\([0-9]*\\) sh -s ${taskID}$/\\1/p' -e 's/^ *\\([0-9]*\\) sh -s ${taskID} .*/\\1/p' \\
    -e 's/^ *\\([0-9]*\\) [^ ]*git -c core.hooksPath=.* worktree [ar].*\\/${taskID}.*/\\1/p' | sort -u | grep -vx "$mine" || :
}
n=0
while [ -n "$mine" ] && groups=$(earlier) && [ -n "$groups" ] && [ $n -lt ${END_CHECKS} ]; do
  for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null || :; done
  n=$((n + 1))
  sleep 1
done
`
}

/** Quotes a value for the POSIX shell. */
export function quoted(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`
}

/**
 * Lets `work` run scripts in one session there, after the scripts of earlier calls for the task. First ends what those left
 * running.
 */
export function withScripts<Result>(
  link: MachineLink,
  taskID: string,
  work: (run: RunScript) => Promise<Result>,
): Promise<Result> {
  // Two at once would end each other's scripts, and share files.
  return link.scripts.take(taskID, () => inSession(link, taskID, work))
}

async function inSession<Result>(
  link: MachineLink,
  taskID: string,
  work: (run: RunScript) => Promise<Result>,
): Promise<Result> {
  const title = `The files of ${taskID} (opencode-background)`
  const sessionID = await link.createSession({ title, metadata: { 'background-files': taskID } })
  try {
    let before = endEarlier(taskID)
    return await work((script, data = '') => {
      const whole = before + script
      before = ''
      return runIn(link, sessionID, whole, `${taskID} ${data}`)
    })
  } finally {
    await link.deleteSession(sessionID)
  }
}

async function runIn(link: MachineLink, sessionID: string, script: string, args: string): Promise<string> {
  // The user's shell may print more, such as a greeting of its configuration.
  const mark = randomUUID()
  const program = `out=$( { ${PRELUDE}${script}
} )
rc=$?
printf '%s %s %s.\\n' ${mark} "$rc" "$(printf %s "$out" | base64 | tr -d '\\n')"`
  // Every shell interprets this line alike. OpenCode has the shell evaluate a line twice: a `$` would be expanded too early.
  const line = `echo ${base64(program)} | base64 -d | sh -s ${args}`
  const output = await link.shell(sessionID, line)
  const [, code, text = ''] = new RegExp(`${mark} (\\d+) ([A-Za-z0-9+/=]*)\\.`).exec(output) ?? []
  const printed = Buffer.from(text, 'base64').toString()
  if (code === '0') return printed
  // Without the mark, the script was cut off, as by a restart of the server.
  if (code === undefined) throw new HostError('noAnswer', `${link.name}: a script was cut off`)
  const lines = printed.split('\n').filter((each) => each.trim() !== '')
  const why = lines.find((each) => /^(?:fatal|error): /.test(each)) ?? lines.at(-1)
  throw new ScriptError((why ?? `a script ended with ${code}`).replace(/^(?:fatal|error): /, ''))
}

/** Writes a file there, whose path is a quoted word of the shell. */
export async function writeFileBy(run: RunScript, path: string, bytes: Uint8Array): Promise<void> {
  await run(`mkdir -p "$(dirname ${path})"; umask 077; : >${path}`)
  for (let offset = 0; offset < bytes.length; offset += IN_BYTES)
    await run(
      `printf %s "$1" | base64 -d | dd of=${path} bs=${IN_BYTES} seek=${offset / IN_BYTES} conv=notrunc 2>/dev/null`,
      base64(bytes.subarray(offset, offset + IN_BYTES)),
    )
}

/** Reads a file of this size there. */
export async function readFileBy(run: RunScript, path: string, size: number): Promise<Uint8Array> {
  const pieces: Buffer[] = []
  for (let offset = 0; offset < size; offset += OUT_BYTES) {
    const text = await run(
      `dd if=${path} bs=${OUT_BYTES} skip=${offset / OUT_BYTES} count=1 2>/dev/null | base64`,
    )
    pieces.push(Buffer.from(text, 'base64'))
  }
  return Buffer.concat(pieces)
}

function base64(bytes: Uint8Array | string): string {
  return Buffer.from(bytes).toString('base64')
}
