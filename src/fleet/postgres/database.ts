/**
 * The connections to the fleet's database. Each verb is one call of a function there, with a time limit on both sides, so that
 * a lost connection fails the call and holds nothing back. Errors say what to do, and never have the URL, because that has a
 * password.
 */
import { Client, Pool, type ClientConfig, type DatabaseError, type QueryResultRow } from 'pg'
import { UsageError } from '../../usage-error.ts'
import { LARGE_BYTES, sizeOf, transferMs } from '../call-within.ts'

/** The server ends a call first, so that its answer says why. */
const SERVER_LIMIT_MS = 10_000
const CLIENT_LIMIT_MS = 15_000
const CONNECT_LIMIT_MS = 5000
const IDLE_MS = 10_000
const CONNECTIONS = 4
const RECONNECT_MS = 2000
/** The server measures a call from its first byte to the last of its answer: the time that the largest one may need on the way. */
const SERVER_LARGE_LIMIT_MS = 1_200_000

export class Database {
  readonly #pool: Pool
  /** For calls that carry more than `LARGE_BYTES`, so that no beat waits behind them. */
  readonly #large: Pool
  readonly #url: string
  readonly #listeners = new Set<Listener>()

  /** Connects with the first call. */
  constructor(url: string) {
    this.#url = url
    this.#pool = poolOf(settingsOf(url))
    this.#large = poolOf({ ...settingsOf(url), statement_timeout: SERVER_LARGE_LIMIT_MS })
  }

  /**
   * Rejects with an error that says what to do; a `UsageError` if only a person can do it.
   *
   * @param answerBytes about how many bytes the answer has, if that may be many
   */
  async rows<Row extends QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
    answerBytes = 0,
  ): Promise<Row[]> {
    const bytes = sizeOf(values) + answerBytes
    const isLarge = bytes > LARGE_BYTES
    const limit = isLarge ? { query_timeout: CLIENT_LIMIT_MS + transferMs(bytes) } : {}
    try {
      const pool = isLarge ? this.#large : this.#pool
      return (await pool.query<Row>({ text, values: [...values], ...limit })).rows
    } catch (error) {
      throw explained(error, this.#url)
    }
  }

  /** Calls back with the text of each notification, and with '' after each lost connection, because some may have been missed. */
  listen(channel: string, onNotice: (text: string) => void, signal: AbortSignal): void {
    if (signal.aborted) return
    const listener = new Listener(this.#url, channel, onNotice)
    this.#listeners.add(listener)
    signal.addEventListener('abort', () => void this.#stop(listener), { once: true })
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listeners].map((listener) => this.#stop(listener)))
    await Promise.all([this.#pool.end(), this.#large.end()])
  }

  async #stop(listener: Listener): Promise<void> {
    this.#listeners.delete(listener)
    await listener.stop()
  }
}

/** Keeps a connection that listens on one channel. The callers also poll, so a lost notification only delays them. */
class Listener {
  readonly #url: string
  readonly #channel: string
  readonly #onNotice: (text: string) => void
  #client: Client | undefined
  #retry: NodeJS.Timeout | undefined
  #phase: 'connecting' | 'listening' | 'reconnecting' | 'stopped' = 'connecting'

  constructor(url: string, channel: string, onNotice: (text: string) => void) {
    this.#url = url
    this.#channel = channel
    this.#onNotice = onNotice
    void this.#connect()
  }

  async stop(): Promise<void> {
    this.#phase = 'stopped'
    clearTimeout(this.#retry)
    await this.#client?.end().catch(() => {})
  }

  async #connect(): Promise<void> {
    const client = new Client(settingsOf(this.#url))
    this.#client = client
    client.on('notification', ({ payload = '' }) => this.#onNotice(payload))
    client.on('error', () => {})
    client.once('end', () => this.#connectLater())
    try {
      await client.connect()
      await client.query(`listen ${client.escapeIdentifier(this.#channel)}`)
      if (this.#phase === 'reconnecting') this.#onNotice('')
      if (this.#phase !== 'stopped') this.#phase = 'listening'
    } catch {
      void client.end().catch(() => {})
      this.#connectLater()
    }
  }

  #connectLater(): void {
    if (this.#phase === 'stopped') return
    this.#phase = 'reconnecting'
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => void this.#connect(), RECONNECT_MS)
    this.#retry.unref()
  }
}

function poolOf(settings: ClientConfig): Pool {
  const pool = new Pool({
    ...settings,
    max: CONNECTIONS,
    idleTimeoutMillis: IDLE_MS,
    allowExitOnIdle: true,
  })
  // A connection that ends while nothing uses it: the next call opens another.
  pool.on('error', () => {})
  return pool
}

function settingsOf(connectionString: string): ClientConfig {
  return {
    connectionString,
    application_name: 'opencode-background',
    connectionTimeoutMillis: CONNECT_LIMIT_MS,
    query_timeout: CLIENT_LIMIT_MS,
    statement_timeout: SERVER_LIMIT_MS,
    keepAlive: true,
  }
}

const MIGRATE = 'its administrator runs `opencode-background fleet migrate`'

/** Returns an error whose text says what to do. */
export function explained(error: unknown, url: string): Error {
  const { hostname, port, pathname, username } = new URL(url)
  const role = decodeURIComponent(username) || 'of this user'
  const place = `${hostname}:${port === '' ? 5432 : port}`
  const { code = '', message } = error as DatabaseError
  const usage = (text: string): UsageError => new UsageError(text, { cause: error })
  switch (code) {
    case '28P01':
    case '28000':
      return usage(
        `${place} refuses the role ${role}: check the name and the password in the URL (${message})`,
      )
    case '3D000':
      return usage(`${place} has no database ${pathname.slice(1)}: check the URL, or create it`)
    case '3F000':
    case '42P01':
    case '42883':
      return usage(`the database ${pathname.slice(1)} has no fleet of this version: ${MIGRATE}`)
    case '42501':
      return usage(
        `the role ${role} may not do this: who launches tasks is a member of fleet_launcher, a worker of fleet_worker (${message})`,
      )
    case '53100':
      return new Error(`the disk of the database at ${place} is full: free some, and it goes on (${message})`)
    case '53300':
      return new Error(`the database at ${place} has no connection left: raise its max_connections`)
    default:
      return new Error(`the database at ${place} did not do it: ${message || code}`, { cause: error })
  }
}
