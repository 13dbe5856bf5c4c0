/**
 * A real PostgreSQL for tests: a data directory of its own, a free port on 127.0.0.1, stopped by its own pid. As root it runs
 * as `nobody`, because PostgreSQL refuses root.
 */
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const DEBIAN = '/usr/lib/postgresql'
const STARTS_WITHIN_MS = 60_000
const LOOK_MS = 50
const ADMIN = 'admin'
/** In each test's database, so that a test can look whether it stands somewhere in clear. */
export const PASSWORD = 'password-of-the-tests'

export interface Postgres {
  /** The URL of a database for a role; default: the administrator. Every role of the tests has `PASSWORD`. */
  url(database: string, role?: string): string
  readonly port: number
  /** Ends it without a shutdown, as a crash does: all its processes at once. */
  kill(): Promise<void>
  /** Starts it again after `kill`. */
  start(): Promise<void>
  /** Stops it, and removes its data. */
  stop(): Promise<void>
}

export interface PostgresSettings {
  /** Whether a commit waits for the disk; default: not. */
  readonly isDurable?: boolean
  /** The directory of its data; default: a new temporary one. */
  readonly directory?: string
  /** An address of this machine in a private network, at which it listens too. */
  readonly address?: string
}

/** Resolves with a PostgreSQL that answers. Rejects with one sentence if there is none on this machine. */
export async function startPostgres(settings: PostgresSettings = {}): Promise<Postgres> {
  const programs = findPrograms()
  const user = unprivileged()
  const place = settings.directory ?? mkdtempSync(join(tmpdir(), 'pg-'))
  const data = join(place, 'data')
  if (user) {
    chownSync(place, user.uid, user.gid)
    // The user of the server goes through the directories above; their names are not listed to it.
    for (let path = dirname(place); path !== '/' && path !== '/tmp'; path = dirname(path))
      chmodSync(path, 0o711)
  }
  const passwordFile = join(place, 'password')
  writeFileSync(passwordFile, PASSWORD)
  if (user) chownSync(passwordFile, user.uid, user.gid)
  const auth = ['--auth-local=reject', '--auth-host=scram-sha-256', `--pwfile=${passwordFile}`]
  const options = ['-D', data, '-U', ADMIN, '-E', 'UTF8', '--no-locale', '--no-sync', ...auth]
  await run(join(programs, 'initdb'), options, { ...user, cwd: place })
  rmSync(passwordFile)
  const { address } = settings
  if (address !== undefined)
    appendFileSync(join(data, 'pg_hba.conf'), `host all all ${address}/16 scram-sha-256\n`)
  const port = await freePort()
  const settingsOf = {
    port: `${port}`,
    listen_addresses: ['127.0.0.1', ...(address === undefined ? [] : [address])].join(),
    unix_socket_directories: '',
    fsync: settings.isDurable === true ? 'on' : 'off',
    max_connections: '200',
    shared_buffers: '64MB',
  }
  const args = Object.entries(settingsOf).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  let server: ChildProcess
  const start = async (): Promise<void> => {
    server = spawn(join(programs, 'postgres'), ['-D', data, ...args], {
      ...user,
      cwd: place,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let log = ''
    server.stderr?.on('data', (chunk: Buffer) => (log = `${log}${chunk.toString()}`.slice(-4000)))
    const deadline = Date.now() + STARTS_WITHIN_MS
    while (!(await isReady(programs, port))) {
      if (server.exitCode !== null || Date.now() > deadline)
        throw new Error(`PostgreSQL did not start:\n${log}`)
      await sleep(LOOK_MS)
    }
  }
  const end = async (kill: () => void): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const exit = once(server, 'exit')
    kill()
    await exit
  }
  await start()
  return {
    port,
    url: (database, role = ADMIN) => `postgres://${role}:${PASSWORD}@127.0.0.1:${port}/${database}`,
    start,
    async kill() {
      // Each of them is in a session of its own, so that no signal reaches all.
      const pids = [server.pid ?? 0, ...childrenOf(server.pid ?? 0)]
      await end(() => pids.forEach(killIfThere))
      while (pids.some(isThere)) await sleep(LOOK_MS)
    },
    async stop() {
      // A fast shutdown: it disconnects its clients.
      await end(() => server.kill('SIGINT'))
      rmSync(data, { recursive: true, force: true })
      if (settings.directory === undefined) rmSync(place, { recursive: true, force: true })
    },
  }
}

/** Returns the directory of the programs of the newest PostgreSQL. */
function findPrograms(): string {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).map(Number) : []
  const path = join(DEBIAN, `${Math.max(...versions)}`, 'bin')
  if (!existsSync(join(path, 'initdb')))
    throw new Error('The tests of the fleet need PostgreSQL: apt-get install postgresql')
  return path
}

function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const idOf = (option: string): number => Number(execFileSync('id', [option, 'nobody']).toString())
  return { uid: idOf('-u'), gid: idOf('-g') }
}

function childrenOf(pid: number): number[] {
  const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return pids === '' ? [] : pids.split(' ').map(Number)
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // A worker process of the server, such as that of autovacuum, has ended by itself since the list was read.
  }
}

function isThere(pid: number): boolean {
  try {
    // A zombie of a container without an init has an empty command line.
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''
  } catch {
    return false
  }
}

async function isReady(programs: string, port: number): Promise<boolean> {
  const args = ['-q', '-h', '127.0.0.1', '-p', `${port}`]
  return run(join(programs, 'pg_isready'), args).then(
    () => true,
    () => false,
  )
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
