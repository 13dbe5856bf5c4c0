/** Identifies the process that runs a task, so that another process can check whether it still exists. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import * as z from 'zod/mini'
import { bootID, isStateLocal, thisSystem, type System } from './system.ts'

export const ownerSchema = z.object({
  /** The manager's name in its process; only a manager of the same name recovers the task. */
  name: z.string(),
  /** The project's directory. */
  directory: z.string(),
  /** The host's name, for people. */
  host: z.string(),
  /** See `System`. Old records lack it; a value is '' where the system does not report it. */
  system: z.exactOptional(z.object({ machine: z.string(), boot: z.string(), namespace: z.string() })),
  pid: z.int(),
  /** See `processKey`: distinguishes this process from a later one with the same pid. */
  process: z.string(),
})

export type Owner = z.infer<typeof ownerSchema>

export interface Owners {
  readonly self: Owner
  /** Whether this owner's process or instance is gone, so that its tasks must be adopted. */
  isGone(owner: Owner): boolean
}

/** The name of managers without a given name; several can exist at a time. */
export const UNNAMED = 'library'

/** Returns the owners for a manager of the project `directory` in this process. */
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
      // This process has one instance per given name and project, so that an equal owner has ended.
      if (owner.pid === self.pid && owner.process === self.process) return given !== undefined
      const key = processKey(owner.pid)
      return key === undefined || (key !== '' && owner.process !== '' && key !== owner.process)
    },
  }
}

/** Returns where an owner runs or ran; `elsewhere` in doubt, because a living owner keeps its tasks. */
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
 * Returns a key that distinguishes a process from earlier and later ones with its pid; `undefined` where no
 * such process exists, and `''` where the system reports only that it exists. A zombie counts as gone where
 * the system reports it, because some parents never reap.
 */
export function processKey(pid: number): string | undefined {
  // Some Linux sandboxes lack /proc: fall back to `ps`, as on other systems.
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

/** Reads `/proc/PID/stat` (proc(5)); `undefined` where no such process exists. */
export function processStat(
  pid: number,
): { isRunning: boolean; group: number; session: number; startTicks: string } | undefined {
  try {
    // The name in brackets can contain any text; after it follow state, parent, group and session.
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
