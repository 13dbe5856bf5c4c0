/** Starts a shell command as a process in its own group, with its output in files, so that it outlives this process. */
import { spawn, type ChildProcess } from 'node:child_process'
import { accessSync, closeSync, constants, mkdirSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { processKey } from '../../task/owner.ts'
import { openLogs, WRAPPER, writeOwner, writeProcessIdentity, type CommandOwner } from './files.ts'
import { CommandProcess, type ProcessOptions } from './process.ts'

export interface StartOptions extends ProcessOptions {
  /** The argument of `-c` of the shell. */
  readonly command: string
  /** The path of a shell. */
  readonly shell: string
  readonly cwd: string
  /** The whole environment. Its PATH must contain `mv`. */
  readonly env: NodeJS.ProcessEnv
  /** Whether its input stays open without data; by default it is at its end. */
  readonly hasOpenInput?: boolean
  readonly belonging: CommandOwner
  /** The command's own directory, which is created as private; it must not exist yet. */
  readonly directory: string
}

/**
 * Starts a command. Throws an `Error` with the reason if it cannot be started: a working directory or a shell
 * that does not exist, a directory that cannot be written to, a command line longer than the system accepts
 * (128 KiB on Linux). After an error no files remain.
 */
export function start({
  command,
  shell,
  cwd,
  env,
  directory,
  belonging,
  hasOpenInput = false,
  ...options
}: StartOptions): CommandProcess {
  // Node would report the shell as missing in both cases.
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) throw new Error(`no such directory: ${cwd}`)
  accessSync(shell, constants.X_OK)
  mkdirSync(dirname(directory), { recursive: true, mode: 0o700 })
  mkdirSync(directory, { mode: 0o700 })
  try {
    writeOwner(directory, belonging)
    const logs = openLogs(directory)
    let child: ChildProcess
    try {
      child = spawn('/bin/sh', ['-c', WRAPPER, 'sh', shell, command, directory, hasOpenInput ? 'open' : ''], {
        cwd,
        env,
        detached: true,
        stdio: ['ignore', logs.stdout, logs.stderr],
      })
    } finally {
      closeSync(logs.stdout)
      closeSync(logs.stderr)
    }
    // Node also emits the failure as an event, which would be thrown without a listener.
    child.on('error', () => {})
    if (child.pid === undefined) throw new Error('the system could not start it')
    const identity = { pid: child.pid, key: processKey(child.pid) ?? '' }
    try {
      writeProcessIdentity(directory, identity)
    } catch {
      // The command removed its own files, or the disk is full: it runs, but no other process can find it.
    }
    // The child must not keep this process alive.
    child.unref()
    return new CommandProcess({ ...identity, directory, ...options }, child)
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
}
