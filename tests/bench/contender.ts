/** The measured background tasks: ours, OpenCode's own, and other plugins', all driven in the same way. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createHome } from '../harness/home.ts'
import type { ScriptedModel } from '../harness/model.ts'
import type { ToolCall } from '../harness/script.ts'
import { startOpencode, type OpencodeOptions, type OpencodeServer } from '../harness/server.ts'
import { launchCall } from '../harness/soak.ts'

export interface Contender {
  /** `ours`, `native`, or the name of a package. */
  readonly name: string
  readonly server: OpencodeServer
  readonly isPeer?: true
  /** Returns the tool call with which the parent's model launches a child. */
  readonly launch: (description: string, prompt: string) => ToolCall
}

type Plugins = NonNullable<OpencodeOptions['plugins']>

/** The bundle that `npm run bench` has just built. */
export const PLUGIN = fileURLToPath(new URL('../../dist/server.js', import.meta.url))

const NATIVE = { OPENCODE_EXPERIMENTAL_BACKGROUND_SUBAGENTS: 'true' }

/**
 * Starts a server with plugins, and OpenCode's own background task beside them.
 *
 * @param home of an earlier server that was stopped with `keepHome`
 */
export function startServer(model: ScriptedModel, plugins: Plugins, home?: string): Promise<OpencodeServer> {
  return startOpencode({ model, plugins, env: NATIVE, ...(home !== undefined && { home }) })
}

export function ours(server: OpencodeServer): Contender {
  return { name: 'ours', server, launch: (description, prompt) => launchCall('ours', description, prompt) }
}

export function native(server: OpencodeServer): Contender {
  return {
    name: 'native',
    server,
    launch: (description, prompt) => launchCall('native', description, prompt),
  }
}

/** The settings by which a peer is driven. */
interface PeerPlan {
  /** A sub-agent of the peer, which OpenCode's own tool launches. */
  readonly agent: string
  /** The peer's configuration, by the names of the files in OpenCode's folder. */
  readonly files: Readonly<Record<string, object>>
}

const MODEL = { model: 'mock/m1' }

const PEERS: Readonly<Record<string, PeerPlan>> = {
  'oh-my-opencode-slim': {
    agent: 'explorer',
    files: {
      'oh-my-opencode-slim.json': { autoUpdate: false, agents: { orchestrator: MODEL, explorer: MODEL } },
    },
  },
}

export interface Peer {
  readonly contender: Contender
  stop(): Promise<void>
}

/**
 * Starts a server of its own with another build of this plugin.
 *
 * @param bundle the path of its `dist/server.js`
 */
export async function startOld(model: ScriptedModel, bundle: string, others: Plugins = []): Promise<Peer> {
  const server = await startServer(model, [...others, [resolve(bundle), { concurrency: { total: 100 } }]])
  return { contender: { ...ours(server), name: 'old' }, stop: () => server.stop() }
}

/**
 * Installs a package into a temporary folder, and starts a separate server with it.
 *
 * @param spec as npm accepts it: `oh-my-opencode-slim@2.2.24`
 */
export async function startPeer(model: ScriptedModel, spec: string): Promise<Peer> {
  const name = spec.replace(/(?<=.)@.*$/, '')
  const plan = PEERS[name]
  if (!plan) {
    throw new Error(`It is not known how to drive ${name}; add it to PEERS in tests/bench/contender.ts.`)
  }
  const folder = install(spec)
  const home = createHome()
  for (const [file, content] of Object.entries(plan.files))
    writeFileSync(join(home.config, file), JSON.stringify(content))
  const plugins = [join(folder, 'node_modules', name)]
  const server = await startOpencode({ model, plugins, env: NATIVE, home: home.path })
  return {
    contender: {
      name,
      server,
      isPeer: true,
      launch: (description, prompt) => ({
        name: 'task',
        args: { description, prompt, subagent_type: plan.agent, background: true },
      }),
    },
    async stop() {
      await server.stop()
      rmSync(folder, { recursive: true })
    },
  }
}

/**
 * Installs a package into a new temporary folder, without its scripts, and returns the folder.
 *
 * @param spec as npm accepts it: `oh-my-opencode-slim@2.2.24`
 */
export function install(spec: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'opencode-peer-'))
  try {
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', folder]
    execFileSync('npm', ['install', ...options, spec], { stdio: 'inherit' })
    return folder
  } catch {
    rmSync(folder, { recursive: true })
    throw new Error(
      `npm could not install ${spec}, so that it is not measured. Leave it out, or try again online.`,
    )
  }
}
