/** Commands for a test, each in its own directory, and all killed after the test. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { attach, type AttachOptions, type CommandProcess } from '../../src/work/command/process.ts'
import { start, type StartOptions } from '../../src/work/command/process-start.ts'
import { OutputMatcher } from '../../src/work/command/output-match.ts'
import { processStat, systemOwners } from '../../src/task/owner.ts'
import { endAfterTest } from '../harness/left.ts'

/** So long that a command ends by SIGTERM on a busy machine too. */
export const GRACE_MS = 10_000

/** Creates a temporary directory. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'command-'))
  endAfterTest(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export interface Command {
  readonly process: CommandProcess
  readonly directory: string
  /** Returns another object for the process, as another server has it. */
  readonly attach: (changes?: Partial<AttachOptions>) => CommandProcess
}

export function run(command: string, changes: Partial<StartOptions> = {}): Command {
  const directory = changes.directory ?? join(temporaryDirectory(), 'command')
  const cwd = temporaryDirectory()
  // The mark by which `leaks.ts` finds leftover processes.
  const { PATH, OPENCODE_BACKGROUND_TEST_FILE } = process.env
  const env = { PATH, OPENCODE_BACKGROUND_TEST_FILE }
  const settings = { clock: systemClock, killGraceMs: GRACE_MS }
  const belonging = { owner: systemOwners('tests', cwd).self, timeoutMs: 0 }
  const own = { command, shell: '/bin/sh', cwd, env, directory, belonging }
  const child = start({ ...settings, ...own, ...changes })
  endAfterTest(() => child.killNow())
  return {
    process: child,
    directory,
    attach(other) {
      const { pid, key } = child
      const attached = attach({ ...settings, pid, key, directory, ...other })
      endAfterTest(() => attached.killNow())
      return attached
    },
  }
}

/** Returns all output of a short command after its end. */
export async function outputOf(command: string, changes?: Partial<StartOptions>): Promise<string> {
  const { process: child } = run(command, changes)
  await child.ended
  return child.tail('stdout', { bytes: 1_000_000 }).text
}

/** Returns the running processes of a process session, in any group. */
export function groupOf(leader: number): readonly number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map(Number).filter((pid) => {
    const stat = processStat(pid)
    return stat?.isRunning && stat.session === leader
  })
}

/** Searches the output of a command for texts. */
export function watchFor(
  child: CommandProcess,
  texts: readonly string[],
  onFound: (text: string) => void,
): void {
  child.watch(new OutputMatcher(child.directory, texts, onFound))
}

/** Resolves when the command has written `text`. */
export function written(child: CommandProcess, text: string): Promise<string> {
  return new Promise((resolve) => watchFor(child, [text], resolve))
}

/** Returns the resident memory of this process in bytes. */
export function residentBytes(): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return Number(kilobytes) * 1024
}
