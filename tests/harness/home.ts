/** The world that a test's OpenCode lives in: a home of its own, a project under git, and no way out. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Home {
  /** The temporary directory that holds everything else. */
  readonly path: string
  /** The project that the server works in. */
  readonly directory: string
  /** OpenCode's global configuration directory. */
  readonly config: string
  readonly logs: string
}

/** Names the places inside a home, new or kept from an earlier server. */
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

/** Another project with one commit, beside the first; returns its directory. */
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
 * Makes OpenCode believe that it has installed `@opencode-ai/plugin` into a configuration directory, which it
 * otherwise does with npm at the first start, and what a plugin's load waits for. It looks for a `node_modules` directory and for the package's
 * name in the lock file's root, and at nothing else. Use it for each `.opencode` directory that a test makes.
 */
export function skipPluginInstall(configDirectory: string): void {
  const dependencies = { '@opencode-ai/plugin': '*' }
  mkdirSync(join(configDirectory, 'node_modules'), { recursive: true })
  writeFileSync(join(configDirectory, 'package.json'), JSON.stringify({ dependencies }))
  const lock = { lockfileVersion: 3, packages: { '': { dependencies } } }
  writeFileSync(join(configDirectory, 'package-lock.json'), JSON.stringify(lock))
}

/** The whole environment of a process in this home: nothing of the developer's own leaks in. */
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
    // `opencode run` takes its directory from here (contract 10.4).
    PWD: home.directory,
    GIT_CONFIG_NOSYSTEM: '1',
    // The catalogue that is built in has thousands of models, and reading it costs the first prompt a second.
    OPENCODE_MODELS_PATH: join(home.path, 'models.json'),
    OPENCODE_DISABLE_MODELS_FETCH: '1',
    OPENCODE_DISABLE_AUTOUPDATE: '1',
    OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
    // Port 9 (discard) answers nobody: what tries to leave the machine fails at once.
    HTTP_PROXY: 'http://127.0.0.1:9',
    HTTPS_PROXY: 'http://127.0.0.1:9',
    NO_PROXY: '127.0.0.1,localhost',
  }
}
