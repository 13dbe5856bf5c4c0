/**
 * Inserts copies of a heavy message after the prompt of each child, in OpenCode's database. `weight.ts` runs this file in OpenCode's
 * own runtime, because Node 20 has no SQLite: `BUN_BE_BUN=1 opencode run heavier.ts <database> <session of the heavy message>
 * <megabytes> <child session>…`
 */
import { argv } from 'node:process'

/** A part of a module of Bun, whose types are not installed. */
interface Sqlite {
  readonly Database: new (path: string) => {
    query(sql: string): {
      get(...values: readonly (string | number)[]): unknown
      all(...values: readonly (string | number)[]): unknown
      run(...values: readonly (string | number)[]): unknown
    }
    transaction(work: () => void): () => void
    close(): void
  }
}

interface Message {
  readonly id: string
  readonly created: number
}

const [path = '', weightID = '', megabytes = '', ...childIDs] = argv.slice(2)
const name = 'bun:sqlite'
const { Database } = (await import(name)) as Sqlite
const database = new Database(path)
// A running OpenCode may be writing.
database.query('PRAGMA busy_timeout = 10000').all()

const WEIGHT = `SELECT sum(length(data)) AS bytes FROM part WHERE`
const bytesOf = (where: string, id: string): number =>
  (database.query(`${WEIGHT} ${where} = ?`).get(id) as { readonly bytes: number }).bytes

const heavy = database
  .query('SELECT message_id AS id FROM part WHERE session_id = ? ORDER BY length(data) DESC LIMIT 1')
  .get(weightID) as Pick<Message, 'id'>
const copies = Math.ceil((Number(megabytes) * 1e6) / bytesOf('message_id', heavy.id))

database.transaction(() => {
  for (const childID of childIDs) {
    const before = messagesOf(childID)
    const [prompt] = before
    if (!prompt) throw new Error(`${childID} has no message`)
    for (let copy = 1; copy <= copies; copy += 1) insert(childID, prompt, copy)
    const after = messagesOf(childID)
    const isInPlace = after[0]?.id === prompt.id && after.at(-1)?.id === before.at(-1)?.id
    if (
      !isInPlace ||
      after.length !== before.length + copies ||
      bytesOf('session_id', childID) < Number(megabytes) * 1e6
    )
      throw new Error(`The messages of ${childID} are not in their order, or too few`)
  }
})()
// Otherwise OpenCode would move them from the log into the database, at a moment that is measured.
database.query('PRAGMA wal_checkpoint(TRUNCATE)').all()
database.close()

function messagesOf(sessionID: string): readonly Message[] {
  return database
    .query('SELECT id, time_created AS created FROM message WHERE session_id = ? ORDER BY time_created, id')
    .all(sessionID) as Message[]
}

function insert(childID: string, { id: promptID, created }: Message, copy: number): void {
  // The first 12 digits of an id are its order.
  const order = (BigInt(`0x${promptID.slice(4, 16)}`) + BigInt(copy)).toString(16).padStart(12, '0')
  const id = `msg_${order}${promptID.slice(16)}`
  database
    .query(
      `INSERT INTO message (id, session_id, time_created, time_updated, data)
       SELECT ?1, ?2, ?3, ?3, json_set(data, '$.parentID', ?4, '$.time.created', ?3, '$.time.completed', ?3)
       FROM message WHERE id = ?5`,
    )
    .run(id, childID, created, promptID, heavy.id)
  database
    .query(
      `INSERT INTO part (id, message_id, session_id, time_created, time_updated, data)
       SELECT substr(id, 1, 16) || ?1, ?2, ?3, ?4, ?4, data FROM part WHERE message_id = ?5`,
    )
    .run(childID.slice(-10) + `${copy}`.padStart(4, '0'), id, childID, created, heavy.id)
}
