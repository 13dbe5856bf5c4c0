/** Reads the processes of this machine. */
import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'

/** Whether the command line of a process in a home of this test file contains this text; others on the machine run the same tests. */
export function isRunning(part: string): boolean {
  const ours = `HOME=${realpathSync(tmpdir())}/`
  return readdirSync('/proc').some(
    (name) =>
      /^\d+$/.test(name) &&
      commandLine(name).includes(part) &&
      environmentOf(name).some((variable) => variable.startsWith(ours)),
  )
}

/** Returns the command lines of the processes with this home in their environment. */
export function runningIn(home: string): string[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name) || !environmentOf(name).includes(`HOME=${home}`)) return []
    return [`${name}: ${commandLine(name)}`]
  })
}

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    return []
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    // The process has ended meanwhile.
    return ''
  }
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
