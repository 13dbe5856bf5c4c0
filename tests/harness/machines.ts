/** Other machines for tests: each is a real OpenCode with a model and a clone of its own. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { createHome } from './home.ts'
import { startModel, type ScriptedModel } from './model.ts'
import type { Script } from './script.ts'
import { startOpencode, type OpencodeOptions, type OpencodeServer, type Project } from './server.ts'

export interface RemoteMachine {
  readonly server: OpencodeServer
  readonly model: ScriptedModel
  /** Its clone of the project. */
  readonly project: Project
  /** The entry of the option `machines`. */
  readonly option: { readonly url: string; readonly directory: string }
  git(...args: readonly string[]): string
  /** Ends its OpenCode by a signal, and starts it again at the same address when the function returned is called. */
  stop(signal: NodeJS.Signals): Promise<() => Promise<void>>
  close(): Promise<void>
}

/** @param source the repository to clone */
export async function startMachine(
  source: string,
  script: Script,
  settings: Partial<Omit<OpencodeOptions, 'model'>> = {},
): Promise<RemoteMachine> {
  const model = await startModel(script)
  const home = createHome()
  const directory = join(home.path, 'clone')
  execFileSync('git', ['clone', '--quiet', source, directory])
  const options = { model, config: { snapshot: false }, ...settings, home: home.path }
  let server = await startOpencode(options)
  const { url } = server
  return {
    get server() {
      return server
    },
    model,
    get project() {
      return server.project(directory)
    },
    option: { url, directory },
    git: (...args) => execFileSync('git', ['-C', directory, ...args]).toString(),
    async stop(signal) {
      await server.stop({ signal, keepHome: true })
      await forgetConnections(url)
      return async () => {
        server = await startOpencode({ ...options, port: Number(new URL(url).port) })
      }
    },
    async close() {
      await server.stop()
      await model.close()
    },
  }
}

/** Has Node drop its connections to a server that is gone: the first request to the next server there would use one, and fail. */
async function forgetConnections(url: string): Promise<void> {
  const codeOf = (error: unknown): unknown => (error as { cause?: { code?: unknown } }).cause?.code
  for (let code: unknown; code !== 'ECONNREFUSED';)
    code = await fetch(url).then(() => {
      throw new Error(`a server listens at ${url}, which was stopped`)
    }, codeOf)
}
