/** Packs the package once, and installs it into a home with OpenCode's own command, as users do. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createHome, environment, homeAt, skipPluginInstall, type Home } from './home.ts'
import { opencodeBinary } from './process.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

/** The environment variables that pass the tarball and the installed home to Vitest's workers. */
const TARBALL = 'OPENCODE_BACKGROUND_TARBALL'
const INSTALLED = 'OPENCODE_BACKGROUND_INSTALLED'

/** Vitest's global setup. */
export default async function setup(): Promise<void> {
  process.env[TARBALL] ??= await pack()
  process.env[INSTALLED] ??= (await install()).path
}

let packed: Promise<string> | undefined

/** Resolves with the path of the tarball. */
export function tarball(): Promise<string> {
  packed ??= Promise.resolve(process.env[TARBALL] ?? pack())
  return packed
}

/** Packs the package, which builds dist, as a release does. */
async function pack(): Promise<string> {
  const destination = mkdtempSync(join(tmpdir(), 'opencode-pack-'))
  const { stdout } = await run('npm', ['run', '--silent', 'tarball', '--', destination], { cwd: root })
  return stdout.trim()
}

/** Creates a home whose project has the packed plugin; `options`: of the server part, `tuiOptions`: of the view. */
export async function homeWithPlugin(options: object = {}, tuiOptions: object = {}): Promise<Home> {
  const installed = process.env[INSTALLED]
  const home = installed === undefined ? await install() : copyOf(installed)
  const config = configOf(home)
  setOptions(join(config, 'opencode.json'), options)
  setOptions(join(config, 'tui.json'), tuiOptions)
  return home
}

const configOf = ({ directory }: Home): string => join(directory, '.opencode')

async function install(): Promise<Home> {
  const home = createHome()
  mkdirSync(configOf(home))
  skipPluginInstall(configOf(home))
  const spec = `opencode-background@${await tarball()}`
  await run(opencodeBinary(), ['plugin', spec], { cwd: home.directory, env: environment(home) })
  return home
}

/** Copies a home. The configuration names the plugin by its tarball; the plugin itself is in the home's cache. */
function copyOf(path: string): Home {
  const { path: copy } = createHome()
  rmSync(copy, { recursive: true })
  cpSync(path, copy, { recursive: true, verbatimSymlinks: true })
  return homeAt(copy)
}

function setOptions(path: string, options: object): void {
  const config = JSON.parse(readFileSync(path, 'utf8')) as { plugin: [[string, object]] }
  const [[spec]] = config.plugin
  writeFileSync(path, JSON.stringify({ ...config, plugin: [[spec, options]] }))
}
