/** Whose task is it? The process that runs it, so that another one can tell whether it is still there. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import * as z from 'zod/mini'
import { bootID, isStateLocal, thisSystem, type System } from './system.ts'

export const ownerSchema = z.object({
  /** Which of the managers in the process; a task is recovered by a manager of the same name only. */
  name: z.string(),
  /** Of the project. */
  directory: z.string(),
  /** The host's name, for people. */
  host: z.string(),
  /** See `System`; absent in records of before it was written, and '' where the system does not tell. */
  system: z.exactOptional(z.object({ machine: z.string(), boot: z.string(), namespace: z.string() })),
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

/** The name of managers that were given none; there may be several at a time. */
const UNNAMED = 'library'

/** The owners on this machine, as seen by a manager of a project in this process. */
export function systemOwners(
  given: string | undefined,
  directory: string,
  read: () => System = thisSystem,
): Owners {
  const name = given ?? UNNAMED
  const system = read()
  const self = {
    name,
    directory,
    host: hostname(),
    system,
    pid: process.pid,
    process: processKey(process.pid) ?? '',
  }
  return {
    self,
    isGone(owner) {
      if (owner.name !== name || owner.directory !== directory) return false
      const place = placeOf(owner, self)
      if (place !== 'here') return place === 'an earlier boot'
      // In this process it was an instance before this one, which has ended: a project has one of a name at a time.
      if (owner.pid === self.pid && owner.process === self.process) return given !== undefined
      const key = processKey(owner.pid)
      return key === undefined || (key !== '' && owner.process !== '' && key !== owner.process)
    },
  }
}

/**
 * Where another owner runs, or has run. `elsewhere` in doubt: what is another's must not be taken over.
 */
function placeOf(
  owner: Owner,
  { host, system }: Owner & { system: System },
): 'here' | 'an earlier boot' | 'elsewhere' {
  const other = owner.system
  if (!other || other.boot === '' || system.boot === '') return owner.host === host ? 'here' : 'elsewhere'
  if (other.boot === system.boot) return other.namespace === system.namespace ? 'here' : 'elsewhere'
  const isSameMachine = system.machine !== '' && other.machine === system.machine
  return isSameMachine && isStateLocal() ? 'an earlier boot' : 'elsewhere'
}

/**
 * What tells a process from every other that has had its pid or will have it; `undefined` where there is none, and `''`
 * where the system does not say more than that there is one. One that has ended and waits for its parent to notice is
 * none, where the system tells: some parents never do.
 */
export function processKey(pid: number): string | undefined {
  // Without /proc, as in some sandboxes, Linux says no more than other systems do.
  if (processStat(process.pid)) {
    const stat = processStat(pid)
    return stat?.isRunning ? `${bootID()} ${stat.startTicks}` : undefined
  }
  try {
    process.kill(pid, 0)
  } catch {
    return undefined
  }
  try {
    const env = { ...process.env, TZ: 'UTC', LC_ALL: 'C' }
    return execFileSync('ps', ['-o', 'lstart=', '-p', `${pid}`], { env })
      .toString()
      .trim()
  } catch {
    return ''
  }
}

/** What Linux says of a process (proc(5)); `undefined` where there is no such process. */
export function processStat(
  pid: number,
): { isRunning: boolean; group: number; session: number; startTicks: string } | undefined {
  try {
    // The name in brackets may hold anything; behind it come the state, the parent, the group and the session.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return {
      isRunning: !'ZX'.includes(fields[0] ?? ''),
      group: Number(fields[2]),
      session: Number(fields[3]),
      startTicks: `${fields[19]}`,
    }
  } catch {
    return undefined
  }
}
