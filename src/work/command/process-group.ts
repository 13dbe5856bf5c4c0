/**
 * The processes of a command: all that it has started, in whatever process group, and that has not left its session
 * (setsid(2)). Where the system does not tell sessions, its process group alone.
 */
import { readdirSync } from 'node:fs'
import { processStat } from '../../task/owner.ts'

/** Sends a signal to each process of the command whose leader has or had this pid; nothing where none is left. */
export function signalGroup(leader: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  for (const group of groupsOf(leader)) send(-group, signal)
}

/** Whether a process is left. */
export function isGroupAlive(leader: number): boolean {
  return groupsOf(leader).some((group) => send(-group, 0))
}

/**
 * The process groups of a session: `timeout` and a shell with job control give theirs to what they start. A zombie has
 * ended; where the first process of a container reaps no orphans, it stays.
 */
function groupsOf(leader: number): number[] {
  if (process.platform !== 'linux') return [leader]
  return [...new Set(membersOf(leader).map(({ group }) => group))]
}

/** The pids of a command's processes; of systems that tell no sessions, none. */
export function processesOf(leader: number): number[] {
  return process.platform === 'linux' ? membersOf(leader).map(({ pid }) => pid) : []
}

function membersOf(leader: number): { pid: number; group: number }[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name)
    const stat = /^\d+$/.test(name) ? processStat(pid) : undefined
    return stat?.isRunning && stat.session === leader ? [{ pid, group: stat.group }] : []
  })
}

/** False where there is no such process or group. One that we may not signal, as another user's, is there. */
function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
