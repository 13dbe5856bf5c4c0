/** The access of the rooms to the world outside of this plugin. */
import { dirname, join } from 'node:path'
import { systemClock, type Clock } from './clock.ts'
import type { Options } from './config.ts'
import type { OpenJobs } from './fleet/launcher/fleet-runs.ts'
import { connect } from './host/calls.ts'
import { isRun } from './host/invocation.ts'
import { hostLog, type Log } from './host/log.ts'
import type { Client, Opencode } from './host/opencode.ts'
import type { Server } from './panes.ts'
import { systemOwners, type Owners } from './task/owner.ts'
import { thisMachine, type Machine } from './work/command/this-machine.ts'
import type { WorktreePlaces } from './worktree/worktree-runs.ts'

/** Tests pass their own. */
export interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly owners: Owners
  readonly machine: Machine
  /** Where worktrees are made from, and where they are; absent if agents can have none. */
  readonly worktrees?: WorktreePlaces
  /** Opens the queue of the fleet; absent to open that of the options. */
  readonly openJobs?: OpenJobs
  /** Whether this process is `opencode run`, which exits as soon as its session is idle. */
  readonly isRun: boolean
  /** The server to which panes of a terminal attach; absent without a `serverUrl`. */
  readonly server?: Server
}

export function realPorts(
  client: Client,
  directory: string,
  name: string | undefined,
  options: Options,
  serverUrl: URL | undefined,
): Ports {
  const clock = systemClock
  // Only a plugin's input has a `serverUrl`.
  const opencode = connect(client, directory, clock, undefined, serverUrl !== undefined)
  const debug = options.debug || process.env['OPENCODE_BACKGROUND_DEBUG'] === '1'
  const log = hostLog((level, message) => opencode.log(level, message), { debug })
  const owners = systemOwners(name, directory)
  const server = serverUrl && { url: serverUrl, directory }
  const isRunProcess = isRun(process.argv.slice(2))
  return {
    opencode,
    clock,
    log,
    owners,
    machine: thisMachine,
    worktrees: {
      directory,
      root: options.worktree.directory || join(dirname(thisMachine.root), 'worktrees'),
    },
    isRun: isRunProcess,
    ...(server && { server }),
  }
}
