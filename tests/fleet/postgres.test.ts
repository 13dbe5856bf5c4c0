import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startPostgres, type Postgres } from '../harness/postgres.ts'

let postgres: Postgres

beforeAll(async () => {
  postgres = await startPostgres({ isDurable: true })
})
afterAll(() => postgres.stop())

async function ask(query: string): Promise<unknown[]> {
  const client = new Client({ connectionString: postgres.url('postgres') })
  await client.connect()
  try {
    const { rows } = await client.query<unknown[]>({ text: query, rowMode: 'array' })
    return rows.flat()
  } finally {
    await client.end()
  }
}

test('the PostgreSQL of the tests keeps what was committed over a crash', async () => {
  await ask('create table kept as select 7 as value')
  await postgres.kill()
  await expect(ask('select value from kept')).rejects.toThrow('ECONNREFUSED')
  await postgres.start()
  expect(await ask('select value from kept')).toEqual([7])
})
