/**
 * A restart of a server whose children have long transcripts: how long the host stands still while they are recovered, and in
 * the same turn without the plugin. Linux only.
 */
import type { Session } from '@opencode-ai/sdk/v2'
import { constants, cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readRecord } from '../../src/task/record.ts'
import { isEnded } from '../../src/task/task.ts'
import type { ScriptedModel } from '../harness/model.ts'
import type { OpencodeServer } from '../harness/server.ts'
import { ours, PLUGIN, startServer } from './contender.ts'
import type { Stall } from './heavy-plugin.ts'
import { round } from './numbers.ts'
import type { Table } from './results.ts'
import type { Scene } from './scene.ts'
import { addWeight, childrenOf, makeWeight } from './weight.ts'

const CHILDREN = 20
const MEGABYTES = 10
const ROUNDS = 3
const LIMIT_MS = 120_000
const POLL_MS = 100

/** `running`: killed while the children work. `ended`: killed when all have ended and none is reported. */
const MOMENTS = ['running', 'ended'] as const
type Moment = (typeof MOMENTS)[number]

interface Restart {
  readonly stall: Stall
  /** From the user's message to the request of the parent's model, which reports all children if there is the plugin. */
  readonly askedAfter: number
}

export async function restartWithHeavyChildren(
  scene: Scene,
  model: ScriptedModel,
): Promise<{ readonly table: Table; readonly stallMs: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'opencode-restart-'))
  const file = join(folder, 'port')
  const heavy = [fileURLToPath(new URL('./heavy-plugin.ts', import.meta.url)), { file }] as const
  // Without a wake, the ends of all children are unreported when the server is killed.
  const own = [PLUGIN, { concurrency: { total: 2 * CHILDREN }, notify: { wake: 'never' } }] as const
  const server = await startServer(model, [heavy, own])
  const { home } = server
  const data = join(home, 'data')
  const keptFor = (moment: Moment): string => join(folder, moment)
  try {
    const family = await makeChildren(scene, server, (moment) => copy(data, keptFor(moment)))
    const restart = async (moment: Moment, plugins: Parameters<typeof startServer>[1]): Promise<Restart> => {
      copy(keptFor(moment), data)
      const restarted = await startServer(model, [heavy, ...plugins], home)
      try {
        const url = `http://127.0.0.1:${readFileSync(file, 'utf8')}`
        const stall = async (): Promise<Stall> => (await (await fetch(url)).json()) as Stall
        const isOurs = plugins.length > 0
        return await recoveryOf(restarted, model, family, stall, isOurs ? moment : undefined)
      } finally {
        await restarted.stop({ signal: 'SIGKILL', keepHome: true })
      }
    }
    const rows: Table['rows'][number][] = []
    let longestMs = 0
    for (const megabytes of [0, MEGABYTES]) {
      for (const moment of MOMENTS) {
        if (megabytes > 0) addWeight(keptFor(moment), family.weightID, megabytes, family.childIDs)
        const recovered: Restart[] = []
        const plain: Restart[] = []
        for (let index = 0; index < ROUNDS; index += 1) {
          recovered.push(await restart(moment, [own]))
          // Without the plugin, the size of the children changes nothing.
          if (megabytes > 0) plain.push(await restart(moment, []))
        }
        const row = {
          'killed while the children': moment === 'running' ? 'run' : 'have ended, unreported',
          'transcript, MB each': megabytes,
        }
        rows.push({ ...row, plugin: 'yes', ...mostOf(recovered) })
        if (megabytes === 0) continue
        rows.push({ ...row, plugin: 'no', ...mostOf(plain) })
        longestMs = Math.max(longestMs, ...recovered.map(({ stall }) => stall.cpuMs))
      }
    }
    const title = `The first turn after kill -9, ${CHILDREN} children, the most of ${ROUNDS} restarts each`
    return { table: { title, rows }, stallMs: round(longestMs) }
  } finally {
    await server.stop({ signal: 'SIGKILL' })
    rmSync(folder, { recursive: true })
  }
}

function mostOf(restarts: readonly Restart[]): Table['rows'][number] {
  const most = (figure: (each: Restart) => number): number => round(Math.max(...restarts.map(figure)))
  return {
    'longest stall, ms of CPU time': most(({ stall }) => stall.cpuMs),
    'longest stall, ms': most(({ stall }) => stall.wallMs),
    "user's message → model is asked, ms": most(({ askedAfter }) => askedAfter),
  }
}

/** The sessions of the tasks that are recovered, and one outside of them with a heavy message. */
interface Family {
  readonly parentID: string
  readonly childIDs: readonly string[]
  readonly names: readonly string[]
  readonly weightID: string
}

/** Makes the children once, keeps the data of both moments, and kills the server. */
async function makeChildren(
  scene: Scene,
  server: OpencodeServer,
  keep: (moment: Moment) => void,
): Promise<Family> {
  const contender = ours(server)
  const weightID = await makeWeight(scene, contender)
  const { id: parentID, names } = await scene.launch(contender, CHILDREN)
  await scene.everyoneWaits(contender, parentID, CHILDREN)
  // A server that stands still has the same files as a killed one.
  process.kill(server.pid, 'SIGSTOP')
  keep('running')
  process.kill(server.pid, 'SIGCONT')
  for (const name of names) scene.release(name)
  const areEnded = async (): Promise<boolean> => {
    const { data } = await server.client.session.children({ path: { id: parentID }, throwOnError: true })
    return (data as object as readonly Session[]).every((session) => {
      const record = readRecord(session)
      return record !== undefined && isEnded(record.task)
    })
  }
  const deadline = Date.now() + LIMIT_MS
  while (!(await areEnded())) {
    if (Date.now() > deadline) throw new Error('The ends of the children are not recorded')
    await sleep(POLL_MS)
  }
  const childIDs = await childrenOf(server, parentID)
  if (childIDs.length !== CHILDREN) throw new Error(`There are ${childIDs.length} children`)
  await server.stop({ signal: 'SIGKILL', keepHome: true })
  keep('ended')
  return { parentID, childIDs, names, weightID }
}

/** Replaces a folder by a copy of another. */
function copy(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true })
  cpSync(from, to, { recursive: true, mode: constants.COPYFILE_FICLONE })
}

/** @param moment in which the tasks were left behind; `undefined` if the server has no plugin that recovers them */
async function recoveryOf(
  server: OpencodeServer,
  model: ScriptedModel,
  { parentID, names }: Family,
  stall: () => Promise<Stall>,
  moment: Moment | undefined,
): Promise<Restart> {
  const say = async (sessionID: string): Promise<void> => {
    await server.prompt(sessionID, 'where were we')
    await server.waitForIdle(sessionID, { timeoutMs: LIMIT_MS })
  }
  const { id } = await server.createSession({ title: 'another' })
  // The first turn of a server loads what later turns use.
  await say(id)
  await say(id)
  await stall()
  const from = Date.now()
  await say(parentID)
  const longest = await stall()
  const told = model.requestsOf(parentID).at(-1)
  if (!told || told.at < from) throw new Error('The model was not asked after the restart')
  const text = told.messages.map(({ content }) => content).join('\n')
  const ids = [...text.matchAll(/<background_task id="(\w+)"/g)].map(([, taskID]) => taskID)
  const expected = moment === undefined ? 0 : CHILDREN
  if (ids.length !== expected || new Set(ids).size !== expected)
    throw new Error(`Of ${expected} children, ${new Set(ids).size} are reported, by ${ids.length} notices`)
  const results = moment === 'ended' ? 1 : 0
  const wrong = names.filter((name) => text.split(`RESULT ${name}:`).length - 1 !== results)
  if (wrong.length > 0) throw new Error(`Not reported with ${results} results: ${wrong.join(', ')}`)
  return { stall: longest, askedAfter: told.at - from }
}
