/**
 * Finds and signals the processes of a command: all that it started, in any process group, and that have not
 * left its session (setsid(2)). Where the system does not report sessions, only its process group.
 */
import { readdirSync } from 'node:fs'
import { processStat } from '../../task/owner.ts'

/** Signals each process of the command whose leader has or had this pid; does nothing if none is left. */
export function signalGroup(leader: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  for (const group of groupsOf(leader)) send(-group, signal)
}

/** Whether a process of the command is left. */
export function isGroupAlive(leader: number): boolean {
  return groupsOf(leader).some((group) => send(-group, 0))
}

/**
 * Returns the process groups of a session, because `timeout` and shells with job control create groups.
 * Zombies are excluded: they have ended, and stay where the first process of a container reaps no orphans.
 */
function groupsOf(leader: number): number[] {
  if (process.platform !== 'linux') return [leader]
  return [...new Set(membersOf(leader).map(({ group }) => group))]
}

/** Returns the pids of a command's processes; none where the system does not report sessions. */
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

/** Whether the process or group exists, also if we may not signal it, because another user owns it. */
function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
