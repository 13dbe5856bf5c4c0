/** The package as users get it: packed once, and installed into a home with OpenCode's own command. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createHome, environment, skipPluginInstall, type Home } from './home.ts'
import { opencodeBinary } from './process.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

/** Where Vitest's workers find what was packed for all of them. */
const TARBALL = 'OPENCODE_BACKGROUND_TARBALL'

/** Vitest's global setup. */
export default async function setup(): Promise<void> {
  process.env[TARBALL] = await pack()
}

/** The path of the tarball. */
export async function tarball(): Promise<string> {
  return process.env[TARBALL] ?? (await pack())
}

/** Builds dist on the way, as a release does. */
async function pack(): Promise<string> {
  const destination = mkdtempSync(join(tmpdir(), 'opencode-pack-'))
  await run('npm', ['pack', '--pack-destination', destination], { cwd: root })
  return join(destination, readdirSync(destination)[0] ?? '')
}

/** A home whose project has the packed plugin; `options` are those of its server part, `tuiOptions` of the other. */
export async function homeWithPlugin(options: object = {}, tuiOptions: object = {}): Promise<Home> {
  const home = createHome()
  const config = join(home.directory, '.opencode')
  mkdirSync(config)
  skipPluginInstall(config)
  const spec = `opencode-background@${await tarball()}`
  await run(opencodeBinary(), ['plugin', spec], { cwd: home.directory, env: environment(home) })
  setOptions(join(config, 'opencode.json'), options)
  setOptions(join(config, 'tui.json'), tuiOptions)
  return home
}

function setOptions(path: string, options: object): void {
  const config = JSON.parse(readFileSync(path, 'utf8')) as { plugin: [[string, object]] }
  const [[spec]] = config.plugin
  writeFileSync(path, JSON.stringify({ ...config, plugin: [[spec, options]] }))
}
