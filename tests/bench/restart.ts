/** A restart of a server whose children have long transcripts: how long the host stands still while they are recovered. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ScriptedModel } from '../harness/model.ts'
import type { OpencodeServer } from '../harness/server.ts'
import { ours, PLUGIN, startServer } from './contender.ts'
import { round } from './numbers.ts'
import type { Table } from './results.ts'
import type { Scene } from './scene.ts'

const CHILDREN = 20
const MEGABYTES = 10
const ROUNDS = 3
const LIMIT_MS = 600_000
const POLL_MS = 100

/** `running`: killed while the children work. `ended`: killed when all have ended and none is reported. */
type Moment = 'running' | 'ended'

interface Restart {
  /** The longest delay of the host's event loop in a turn of another session, and in the turn that recovers. */
  readonly ownStallMs: number
  readonly stallMs: number
  /** From the user's message to the request of the parent's model that reports all children. */
  readonly toldAfter: number
}

export async function restartWithHeavyChildren(
  scene: Scene,
  model: ScriptedModel,
): Promise<{ readonly table: Table; readonly stallMs: number }> {
  const rows: Table['rows'][number][] = []
  let longestMs = 0
  for (const moment of ['running', 'ended'] as const) {
    for (const megabytes of [0, MEGABYTES]) {
      const restarts = await restartsOf(scene, model, moment, megabytes)
      const most = (figure: (each: Restart) => number): number => round(Math.max(...restarts.map(figure)))
      longestMs = Math.max(
        longestMs,
        most(({ stallMs }) => stallMs),
      )
      rows.push({
        'killed while the children': moment === 'running' ? 'run' : 'have ended, unreported',
        'transcript, MB each': megabytes,
        "longest stall in another session's turn, ms": most(({ ownStallMs }) => ownStallMs),
        'longest stall in the turn that recovers, ms': most(({ stallMs }) => stallMs),
        "user's message → all reported, ms (most)": most(({ toldAfter }) => toldAfter),
      })
    }
  }
  const title = `A restart after kill -9, ${CHILDREN} children, the worst of ${ROUNDS} restarts`
  return { table: { title, rows }, stallMs: longestMs }
}

/** Makes the children once, and restarts the server several times from that state. */
async function restartsOf(
  scene: Scene,
  model: ScriptedModel,
  moment: Moment,
  megabytes: number,
): Promise<readonly Restart[]> {
  const folder = mkdtempSync(join(tmpdir(), 'opencode-restart-'))
  const file = join(folder, 'port')
  const kept = join(folder, 'home')
  const heavy = [fileURLToPath(new URL('./heavy-plugin.ts', import.meta.url)), { file }] as const
  // Without a wake, the ends of all children are unreported when the server is killed.
  const options = { concurrency: { total: CHILDREN }, notify: { wake: 'never' } }
  const start = (home?: string): Promise<OpencodeServer> =>
    startServer(model, [heavy, [PLUGIN, options]], home)
  let server = await start()
  const { home } = server
  try {
    const id = await makeChildren(scene, server, moment, megabytes)
    await server.stop({ signal: 'SIGKILL', keepHome: true })
    cpSync(home, kept, { recursive: true })
    const restarts: Restart[] = []
    for (let index = 0; index < ROUNDS; index += 1) {
      server = await start(home)
      const stall = async (): Promise<number> =>
        Number(await (await fetch(`http://127.0.0.1:${readFileSync(file, 'utf8')}`)).text())
      restarts.push(await recoveryOf(server, model, id, stall))
      await server.stop({ signal: 'SIGKILL', keepHome: true })
      rmSync(home, { recursive: true })
      cpSync(kept, home, { recursive: true })
    }
    return restarts
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true })
  }
}

/** Returns the parent of the children. */
async function makeChildren(
  scene: Scene,
  server: OpencodeServer,
  moment: Moment,
  megabytes: number,
): Promise<string> {
  const contender = ours(server)
  const { id, names } = await scene.launch(contender, CHILDREN, { weightMB: megabytes })
  await scene.everyoneWaits(contender, id, CHILDREN)
  if (moment === 'running') return id
  for (const name of names) scene.release(name)
  const deadline = Date.now() + LIMIT_MS
  while (Object.keys((await server.client.session.status({ throwOnError: true })).data).length > 0) {
    if (Date.now() > deadline) throw new Error('The children do not end')
    await sleep(POLL_MS)
  }
  return id
}

async function recoveryOf(
  server: OpencodeServer,
  model: ScriptedModel,
  parentID: string,
  stall: () => Promise<number>,
): Promise<Restart> {
  const say = async (sessionID: string): Promise<number> => {
    await stall()
    await server.prompt(sessionID, 'where were we')
    await server.waitForIdle(sessionID, { timeoutMs: LIMIT_MS })
    return stall()
  }
  const { id } = await server.createSession({ title: 'another' })
  // The first turn of a server loads what later turns use.
  await say(id)
  const ownStallMs = await say(id)
  const from = Date.now()
  const stallMs = await say(parentID)
  const told = model.requestsOf(parentID).at(-1)
  const notices = (told?.messages ?? []).flatMap(({ content }) => [
    ...content.matchAll(/<background_task id="(\w+)"/g),
  ])
  const ids = new Set(notices.map(([, taskID]) => taskID))
  if (notices.length !== CHILDREN || ids.size !== CHILDREN)
    throw new Error(`Of ${CHILDREN} children, ${ids.size} are reported, by ${notices.length} notices`)
  return { ownStallMs, stallMs, toldAfter: (told?.at ?? Number.NaN) - from }
}
