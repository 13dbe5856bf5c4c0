/** What runs on this machine. */
import { readdirSync, readFileSync } from 'node:fs'

/** Whether the command line of any process has this text in it. */
export function isRunning(part: string): boolean {
  return readdirSync('/proc').some((name) => /^\d+$/.test(name) && commandLine(name).includes(part))
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    // It has ended meanwhile.
    return ''
  }
}
