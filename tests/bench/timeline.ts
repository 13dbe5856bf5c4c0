/** `opencode-background timeline` for a session of many tasks, beside a plain read of the same messages. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import PQueue from 'p-queue'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/host/calls.ts'
import { RECORD_KEY, recordOf } from '../../src/task/record.ts'
import type { ScriptedModel } from '../harness/model.ts'
import type { OpencodeServer } from '../harness/server.ts'
import { completedTask } from '../harness/tasks.ts'
import { PLUGIN, startServer } from './contender.ts'
import { median, round } from './numbers.ts'
import type { Table } from './results.ts'
import { usageOf } from './usage.ts'

const TASKS = 300
const MESSAGES_EACH = 20
const ROUNDS = 5
const MESSAGE = 'A line of what an agent has said.\n'.repeat(30)
const COMMAND = fileURLToPath(new URL('../../dist/command.js', import.meta.url))
/** As the command reads. */
const AT_ONCE = 4
const FIRST_PAGE = 32

interface Written {
  readonly ms: number
  readonly peakMB: number
}

export async function timelineOfManyTasks(
  model: ScriptedModel,
): Promise<{ readonly table: Table; readonly ms: number; readonly peakMB: number; readonly ratio: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'opencode-timeline-'))
  const server = await startServer(model, [[PLUGIN, {}]])
  try {
    const parentID = await makeTasks(server)
    const written: Written[] = []
    const plain: number[] = []
    const file = join(folder, 'page.html')
    for (let index = 0; index < ROUNDS; index += 1) {
      written.push(await write(server, parentID, file))
      plain.push(await readAll(server, parentID))
    }
    const page = readFileSync(file, 'utf8')
    const found = new Set(page.match(/bg_[0-9a-f]{8}/g))
    if (found.size !== TASKS) throw new Error(`The page has ${found.size} of ${TASKS} tasks`)
    const ms = round(median(written.map((each) => each.ms)))
    const peakMB = round(Math.max(...written.map((each) => each.peakMB)))
    const readMs = round(median(plain))
    const row = {
      tasks: TASKS,
      messages: TASKS * MESSAGES_EACH,
      'page written, ms': ms,
      'the same messages read, ms': readMs,
      'peak memory, MB': peakMB,
      'page, MB': round(statSync(file).size / 1e6, 2),
    }
    const title = `The timeline of a session, medians of ${ROUNDS} (memory: the most)`
    return { table: { title, rows: [row] }, ms, peakMB, ratio: round(ms / readMs, 2) }
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true })
  }
}

/** Makes a session with tasks that have ended, and returns its id. Their messages are of users: no model has to answer. */
async function makeTasks({ client, directory }: OpencodeServer): Promise<string> {
  const { data: parent } = await client.session.create({ throwOnError: true })
  const owner = { name: 'bench', directory, host: 'bench', pid: 1, process: '1' }
  const queue = new PQueue({ concurrency: 8 })
  const make = async (index: number): Promise<void> => {
    const id = `bg_${index.toString(16).padStart(8, '0')}`
    const task = completedTask({ id, parentID: parent.id, description: `task ${index}` })
    const body = {
      parentID: parent.id,
      title: `task ${index}`,
      metadata: { [RECORD_KEY]: recordOf(task, owner, []) },
    }
    const { data: child } = await client.session.create({ body, throwOnError: true })
    for (let message = 0; message < MESSAGES_EACH; message += 1)
      await client.session.prompt({
        path: { id: child.id },
        body: { noReply: true, parts: [{ type: 'text', text: MESSAGE }] },
        throwOnError: true,
      })
  }
  await queue.addAll(Array.from({ length: TASKS }, (_, index) => () => make(index)))
  return parent.id
}

/** Runs the command, as a user does. */
async function write({ url, directory }: OpencodeServer, sessionID: string, file: string): Promise<Written> {
  const begun = performance.now()
  const child = spawn(process.execPath, [COMMAND, 'timeline', sessionID, '--attach', url, '-o', file], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let peakMB = 0
  const sample = setInterval(() => {
    try {
      if (child.pid !== undefined) peakMB = Math.max(peakMB, usageOf(child.pid).peak / 1e6)
    } catch {
      // It has just ended.
    }
  }, 20)
  let said = ''
  child.stderr.on('data', (text: Buffer) => (said += text.toString()))
  const code = await new Promise((resolve) => {
    child.once('close', resolve)
  })
  clearInterval(sample)
  if (code !== 0) throw new Error(`The command ended with ${String(code)}: ${said}`)
  return { ms: performance.now() - begun, peakMB }
}

/** Reads the messages of all children, as the command has to, and does nothing with them. */
async function readAll({ client, directory }: OpencodeServer, sessionID: string): Promise<number> {
  const begun = performance.now()
  const opencode = connect(client, directory, systemClock)
  const children = await opencode.children(sessionID)
  const queue = new PQueue({ concurrency: AT_ONCE })
  const read = await queue.addAll(
    children.map(
      ({ id }) =>
        () =>
          opencode.messages(id, FIRST_PAGE),
    ),
  )
  const count = read.flat().length
  if (count !== TASKS * MESSAGES_EACH) throw new Error(`${count} messages were read`)
  return performance.now() - begun
}
