/** The ports on which a command listens. Linux alone tells; elsewhere nothing is known. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { processesOf } from './process-group.ts'

/** As `/proc/net/tcp` writes the state of a socket that listens. */
const LISTENS = '0A'

/** A TCP port on which one of the processes listens that the command of this pid has started; `undefined` where none is known. */
export function listeningPort(leader: number): number | undefined {
  for (const pid of processesOf(leader)) {
    const own = socketsOf(pid)
    if (own.size === 0) continue
    // As the process itself sees the network.
    for (const table of ['tcp', 'tcp6']) {
      for (const [inode, port] of listeners(`/proc/${pid}/net/${table}`)) if (own.has(inode)) return port
    }
  }
  return undefined
}

/** The inodes of the sockets that a process has open. */
function socketsOf(pid: number): ReadonlySet<string> {
  const path = `/proc/${pid}/fd`
  const inodes = attempt(() => readdirSync(path), []).flatMap((name) => {
    const target = attempt(() => readlinkSync(`${path}/${name}`), '')
    return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []
  })
  return new Set(inodes)
}

/** Each socket of a table that listens: its inode, and its port. */
function listeners(path: string): [inode: string, port: number][] {
  const [, ...rows] = attempt(() => readFileSync(path, 'utf8'), '')
    .trim()
    .split('\n')
  return rows.flatMap((row): [string, number][] => {
    const [, local = '', , state, , , , , , inode = ''] = row.trim().split(/\s+/)
    return state === LISTENS ? [[inode, Number.parseInt(local.split(':')[1] ?? '', 16)]] : []
  })
}

/** A process may end at any moment, and another user's shows nothing. */
function attempt<Result>(read: () => Result, otherwise: Result): Result {
  try {
    return read()
  } catch {
    return otherwise
  }
}
