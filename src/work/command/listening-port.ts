/** Finds the ports on which a command listens. Only Linux reports them; elsewhere no port is known. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { processesOf } from './process-group.ts'

/** The state of a listening socket in `/proc/net/tcp`. */
const LISTENS = '0A'

/** Returns a TCP port on which the command of this pid listens; `undefined` if none is known. */
export function listeningPort(leader: number): number | undefined {
  for (const pid of processesOf(leader)) {
    const own = socketsOf(pid)
    if (own.size === 0) continue
    // The table of the network namespace of the process.
    for (const table of ['tcp', 'tcp6']) {
      for (const [inode, port] of listeners(`/proc/${pid}/net/${table}`)) if (own.has(inode)) return port
    }
  }
  return undefined
}

/** Returns the inodes of the open sockets of a process. */
function socketsOf(pid: number): ReadonlySet<string> {
  const path = `/proc/${pid}/fd`
  const inodes = attempt(() => readdirSync(path), []).flatMap((name) => {
    const target = attempt(() => readlinkSync(`${path}/${name}`), '')
    return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []
  })
  return new Set(inodes)
}

/** Returns the inode and the port of each listening socket of a table. */
function listeners(path: string): [inode: string, port: number][] {
  const [, ...rows] = attempt(() => readFileSync(path, 'utf8'), '')
    .trim()
    .split('\n')
  return rows.flatMap((row): [string, number][] => {
    const [, local = '', , state, , , , , , inode = ''] = row.trim().split(/\s+/)
    return state === LISTENS ? [[inode, Number.parseInt(local.split(':')[1] ?? '', 16)]] : []
  })
}

/** Returns `otherwise` on an error: a process may end at any moment, and another user's is unreadable. */
function attempt<Result>(read: () => Result, otherwise: Result): Result {
  try {
    return read()
  } catch {
    return otherwise
  }
}
