/** Whose task is it? The process that runs it, so that another one can tell whether it is still there. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import * as z from 'zod'

export const ownerSchema = z.object({
  /** Which of the managers in the process; a task is recovered by a manager of the same name only. */
  name: z.string(),
  /** Of the project. */
  directory: z.string(),
  host: z.string(),
  pid: z.int(),
  /** What tells this process from another that is given the same pid later. */
  process: z.string(),
})

export type Owner = z.infer<typeof ownerSchema>

/** What a manager needs to know of owners. */
export interface Owners {
  /** Itself. */
  readonly self: Owner
  /** Whether nobody runs this owner's tasks any more, so that they are to be taken over. */
  isGone(owner: Owner): boolean
}

/** The owners on this machine, as seen by the manager `name` of a project in this process. */
export function systemOwners(name: string, directory: string): Owners {
  const self = { name, directory, host: hostname(), pid: process.pid, process: processKey(process.pid) ?? '' }
  return {
    self,
    isGone(owner) {
      if (owner.name !== name || owner.directory !== directory || owner.host !== self.host) return false
      // In this process it was an instance before this one, which has ended: a project has one at a time.
      if (owner.pid === self.pid && owner.process === self.process) return true
      return processKey(owner.pid) !== owner.process
    },
  }
}

/** `undefined` where there is no such process. */
function processKey(pid: number): string | undefined {
  try {
    if (process.platform !== 'linux')
      return execFileSync('ps', ['-o', 'lstart=', '-p', `${pid}`])
        .toString()
        .trim()
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    // Behind the name in brackets, which may hold anything, the start in clock ticks is the 20th field (proc(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return `${boot} ${fields[19]}`
  } catch {
    return undefined
  }
}
