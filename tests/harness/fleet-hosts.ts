/**
 * A fleet as it is deployed: a PostgreSQL and a launching OpenCode with the plugin on this machine, and hosts in network
 * namespaces, each with an OpenCode, a clone of the project and the built worker. All agents ask one scripted model.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Limit } from '../../src/fleet/postgres/migrate.ts'
import type { FleetTimes } from '../../src/fleet/port.ts'
import { makeFleetDatabase, WORKER, type FleetDatabase } from './fleet-database.ts'
import { createHome } from './home.ts'
import { startModel, type ScriptedModel } from './model.ts'
import { startNetwork, type Network } from './namespace.ts'
import { buildPlugin } from './plugin.ts'
import { startPostgres, type Postgres } from './postgres.ts'
import { startOpencode, type OpencodeServer } from './server.ts'
import { startStage, type Stage, type StageOptions } from './stage.ts'
import { startProgram, type WorkerProcess } from './worker-process.ts'

/** The providers of the agents, whose model is `of-NAME`. */
export const PROVIDERS = ['acme', 'other'] as const

const LOOK_MS = 100

export interface Host {
  readonly name: string
  readonly network: Network
  readonly server: OpencodeServer
  /** Its clone of the project. */
  readonly clone: string
  /** Contains the worktrees. */
  readonly trees: string
  readonly worker: WorkerProcess
  /** Starts its worker again, with more arguments or another environment. */
  startWorker(args?: readonly string[], env?: Readonly<Record<string, string>>): void
  /** Kills its OpenCode. Resolves with what starts it again at the same address. */
  killServer(): Promise<() => Promise<void>>
}

export interface FleetStage {
  readonly postgres: Postgres
  readonly database: FleetDatabase
  /** The launching OpenCode. */
  readonly stage: Stage
  /** The model of the agents at the hosts. */
  readonly agents: ScriptedModel
  readonly hosts: readonly Host[]
  close(): Promise<void>
}

export interface FleetSettings {
  readonly slots?: number
  readonly limits?: readonly Limit[]
  readonly times?: Partial<FleetTimes>
  /** More options of the plugin at the launching OpenCode. */
  readonly options?: object
  /** More of the environment of each process. */
  readonly env?: Readonly<Record<string, string>>
  /** Returns the URL of the database for the launching OpenCode, of its URL on this machine. */
  readonly reach?: (url: string) => Promise<string>
  readonly plugins?: StageOptions['plugins']
  /** Called with the home of each host, before its OpenCode, its clone and its worktrees are there. */
  readonly prepare?: (home: string) => void
}

/** @param names those of the hosts */
export async function startFleet(
  names: readonly string[],
  settings: FleetSettings = {},
): Promise<FleetStage> {
  const { limits = [], times = {}, options = {}, reach = (url) => Promise.resolve(url), plugins } = settings
  const networks = names.map(() => startNetwork())
  const address = networks[0]?.host ?? '127.0.0.1'
  const agents = await startModel(() => ({ text: 'done' }), address)
  const postgres = await startPostgres({ isDurable: true, address })
  const database = await makeFleetDatabase(postgres, { limits, times })
  const near = networks.flatMap(({ host, address: own }) => [host, own])
  const env = { NO_PROXY: ['127.0.0.1', 'localhost', ...near].join(), ...settings.env }
  const providers = Object.fromEntries(PROVIDERS.map((name) => [name, providerAt(agents.url, name)]))
  const config = { permission: { external_directory: 'allow' } }
  const stage = await startStage({
    options: { fleet: { db: 'FLEET_DB' }, ...options },
    env: { ...env, FLEET_DB: await reach(database.url('desk')) },
    providers,
    config,
    ...(plugins && { plugins }),
  })
  const url = new URL(database.url(WORKER))
  url.hostname = address
  const command = join(dirname(await buildPlugin()), 'command.js')
  const closes: (() => Promise<void>)[] = []
  const startHost = async (name: string, network: Network): Promise<Host> => {
    const home = createHome()
    settings.prepare?.(home.path)
    const [clone, trees] = [join(home.path, 'clone'), join(home.path, 'trees')]
    execFileSync('git', ['clone', '--quiet', stage.server.directory, clone])
    mkdirSync(trees, { recursive: true })
    const { address: own, within } = network
    const opencode = { model: agents, providers, env, address: own, as: within, home: home.path }
    const start = (port?: number): Promise<OpencodeServer> =>
      startOpencode({
        ...opencode,
        config: { snapshot: false, ...config },
        ...(port !== undefined && { port }),
      })
    let server = await start()
    const slots = `${settings.slots ?? 4}`
    const words = ['worker', '--db', '{env:FLEET_DB}', '--name', name, '--labels', name, '--slots', slots]
    const places = ['--url', server.url, '--directory', clone, '--trees', trees]
    const run = (args: readonly string[], more: Readonly<Record<string, string>>): WorkerProcess =>
      startProgram([...within, process.execPath, command, ...words, ...places, ...args], {
        ...env,
        FLEET_DB: url.href,
        XDG_STATE_HOME: join(home.path, 'state-of-worker'),
        ...more,
      })
    let worker = run([], {})
    closes.push(async () => {
      network.heal()
      await worker.end('SIGKILL')
      await server.stop()
      network.close()
    })
    return {
      name,
      network,
      clone,
      trees,
      get server() {
        return server
      },
      get worker() {
        return worker
      },
      startWorker: (args = [], more = {}) => void (worker = run(args, more)),
      async killServer() {
        const { port } = new URL(server.url)
        await server.stop({ signal: 'SIGKILL', keepHome: true })
        await forgetConnections(server.url)
        return async () => void (server = await start(Number(port)))
      },
    }
  }
  const hosts: Host[] = []
  for (const [index, network] of networks.entries()) hosts.push(await startHost(names[index] ?? '', network))
  // A worker has its row with its first request.
  while ((await database.ask('select from fleet.worker')).length < hosts.length) await sleep(LOOK_MS)
  return {
    postgres,
    database,
    stage,
    agents,
    hosts,
    async close() {
      for (const close of closes) await close()
      await stage.close()
      await agents.close()
      await postgres.stop()
    },
  }
}

/**
 * Has Node use no connection to a dead server any more: the next server at its address would get requests by them, which fail
 * (seen).
 */
async function forgetConnections(url: string): Promise<void> {
  const codeOf = ({ cause }: Error): unknown => (cause as NodeJS.ErrnoException | undefined)?.code
  while ((await fetch(url).then(() => '', codeOf)) !== 'ECONNREFUSED') await sleep(LOOK_MS)
}

function providerAt(baseURL: string, name: string): object {
  return {
    npm: '@ai-sdk/openai-compatible',
    name,
    options: { baseURL, apiKey: 'none' },
    models: { [`of-${name}`]: { tool_call: true, limit: { context: 200_000, output: 8_000 } } },
  }
}

/** Resolves with how often a parent was told of the end of each task: by the notices in its messages. */
export async function tellings(server: OpencodeServer, parentID: string): Promise<Map<string, number>> {
  const times = new Map<string, number>()
  for (const { info, parts } of await server.messages(parentID))
    for (const part of info.role === 'user' ? parts : [])
      for (const [, id = ''] of part.type === 'text' ? part.text.matchAll(END) : [])
        times.set(id, (times.get(id) ?? 0) + 1)
  return times
}

const END = /<background_task id="(bg_[0-9a-f]{8})"[^>]* status="(?:completed|failed|cancelled)"/g
