/** Finds a bash for lines that only bash is known to accept, and checks whether that bash accepts them. */
import { execFile } from 'node:child_process'
import { basename, delimiter, isAbsolute, join } from 'node:path'
import { isExecutable, type Surroundings } from '../this-machine.ts'
import { isKnownShell } from '../shells.ts'

const CHECK_MS = 5000
/** After this line bash parses the following lines with extended patterns. */
const BEGINS_WITH_EXTGLOB = /^\s*shopt -s extglob[ \t]*\n/

/**
 * Returns the user's shell if it is bash, otherwise another bash. `undefined` if there is none, and for a
 * shell of unknown name, because an administrator may have listed it in `/etc/shells` to restrict an account.
 */
export function findBash({ shell, env }: Surroundings): string | undefined {
  if (basename(shell) === 'bash') return shell
  if (!isKnownShell(shell)) return undefined
  const directories = (env['PATH'] ?? '').split(delimiter).filter((path) => isAbsolute(path))
  return [...directories, '/bin'].map((directory) => join(directory, 'bash')).find(isExecutable)
}

/**
 * Whether this bash accepts the line, by `bash -n`, which runs nothing. After a syntax error bash continues
 * at the next line, and would run text that looks like the body of a here-document as commands.
 */
export function takes(bash: string, line: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  return new Promise((resolve) => {
    const options = BEGINS_WITH_EXTGLOB.test(line) ? ['-O', 'extglob'] : []
    execFile(bash, [...options, '-n', '-c', line], { env, timeout: CHECK_MS }, (error) =>
      resolve(error === null),
    )
  })
}
