/** Isolates a test's OpenCode: its own home, a project under git, and no network. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Home {
  /** The temporary directory of the other paths. */
  readonly path: string
  /** The project that the server works in. */
  readonly directory: string
  /** OpenCode's global configuration directory. */
  readonly config: string
  readonly logs: string
}

/** Returns the paths of a home, new or of an earlier server. */
export function homeAt(path: string): Home {
  return {
    path,
    directory: join(path, 'project'),
    config: join(path, 'config', 'opencode'),
    logs: join(path, 'data', 'opencode', 'log'),
  }
}

/** Creates a home with a project that has one commit. */
export function createHome(): Home {
  const home = homeAt(realpathSync(mkdtempSync(join(tmpdir(), 'opencode-home-'))))
  for (const path of [home.directory, home.config, join(home.path, 'tmp')])
    mkdirSync(path, { recursive: true })
  skipPluginInstall(home.config)
  writeFileSync(join(home.path, 'models.json'), '{}')

  initialise(home.directory, environment(home))
  return home
}

/** Creates another project with one commit beside the first; returns its directory. */
export function createProject(home: string): string {
  const directory = mkdtempSync(join(home, 'project-'))
  initialise(directory, environment(homeAt(home)))
  return directory
}

function initialise(directory: string, env: Record<string, string>): void {
  const git = (...args: readonly string[]): unknown =>
    execFileSync('git', ['-C', directory, ...args], { env })
  git('init', '--quiet')
  writeFileSync(join(directory, 'README.md'), '# A project\n')
  git('add', '.')
  git('-c', 'user.name=Test', '-c', 'user.email=test@localhost', 'commit', '--quiet', '-m', 'First')
}

/**
 * Makes OpenCode believe that it has installed `@opencode-ai/plugin` into a configuration directory. Otherwise it runs
 * npm at the first start, and each plugin's load waits for that. OpenCode checks only for a `node_modules` directory and
 * the package's name in the lock file's root. Use this for each `.opencode` directory that a test makes.
 */
export function skipPluginInstall(configDirectory: string): void {
  const dependencies = { '@opencode-ai/plugin': '*' }
  mkdirSync(join(configDirectory, 'node_modules'), { recursive: true })
  writeFileSync(join(configDirectory, 'package.json'), JSON.stringify({ dependencies }))
  const lock = { lockfileVersion: 3, packages: { '': { dependencies } } }
  writeFileSync(join(configDirectory, 'package-lock.json'), JSON.stringify(lock))
}

/** Settings of OpenCode's JavaScript engine that `vitest.config.ts` makes; benchmarks run without them. */
const OF_ENGINE = ['BUN_JSC_useFTLJIT', 'BUN_JSC_useGC']

/** Returns the whole environment of a process in this home, without the developer's own variables. */
export function environment(home: Home): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    LANG: 'C.UTF-8',
    HOME: home.path,
    TMPDIR: join(home.path, 'tmp'),
    XDG_CONFIG_HOME: join(home.path, 'config'),
    XDG_DATA_HOME: join(home.path, 'data'),
    XDG_CACHE_HOME: join(home.path, 'cache'),
    XDG_STATE_HOME: join(home.path, 'state'),
    // `opencode run` reads its directory from here (contract 10.4).
    PWD: home.directory,
    GIT_CONFIG_NOSYSTEM: '1',
    // The built-in catalogue has thousands of models, and delays the first prompt by a second.
    OPENCODE_MODELS_PATH: join(home.path, 'models.json'),
    OPENCODE_DISABLE_MODELS_FETCH: '1',
    OPENCODE_DISABLE_AUTOUPDATE: '1',
    OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
    // No server listens on port 9 (discard), so a request to the network fails at once.
    HTTP_PROXY: 'http://127.0.0.1:9',
    HTTPS_PROXY: 'http://127.0.0.1:9',
    NO_PROXY: '127.0.0.1,localhost',
    ...Object.fromEntries(
      OF_ENGINE.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
    ),
  }
}
