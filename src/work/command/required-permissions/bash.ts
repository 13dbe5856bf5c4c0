/** Which bash a line runs in that bash alone is known to take, and whether that bash takes it. */
import { execFile } from 'node:child_process'
import { basename, delimiter, isAbsolute, join } from 'node:path'
import { isExecutable, isKnownShell, type Surroundings } from '../machine.ts'

const CHECK_MS = 5000
/** Once this has run, bash parses the lines below it with more patterns. */
const BEGINS_WITH_EXTGLOB = /^\s*shopt -s extglob[ \t]*\n/

/**
 * The user's shell where it is bash, else another bash. `undefined` where there is none, and where the user's shell is of
 * no known name: an administrator may have listed it in `/etc/shells` to restrict an account.
 */
export function findBash({ shell, env }: Surroundings): string | undefined {
  if (basename(shell) === 'bash') return shell
  if (!isKnownShell(shell)) return undefined
  const directories = (env['PATH'] ?? '').split(delimiter).filter((path) => isAbsolute(path))
  return [...directories, '/bin'].map((directory) => join(directory, 'bash')).find(isExecutable)
}

/**
 * Whether this bash takes the line, by `bash -n`, which runs nothing. After a syntax error bash goes on at the next line:
 * what looks like the text of a here-document would be run as commands.
 */
export function takes(bash: string, line: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  return new Promise((resolve) => {
    const options = BEGINS_WITH_EXTGLOB.test(line) ? ['-O', 'extglob'] : []
    execFile(bash, [...options, '-n', '-c', line], { env, timeout: CHECK_MS }, (error) =>
      resolve(error === null),
    )
  })
}
