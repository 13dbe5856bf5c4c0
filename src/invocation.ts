/** How OpenCode was started, as far as its command line shows it. */

/** The commands of OpenCode 1.18.33, and its aliases for them; without one it starts the terminal UI. */
const COMMANDS: ReadonlySet<string> = new Set([
  'acp',
  'agent',
  'attach',
  'auth',
  'completion',
  'db',
  'debug',
  'export',
  'github',
  'import',
  'mcp',
  'models',
  'plug',
  'plugin',
  'pr',
  'providers',
  'run',
  'serve',
  'session',
  'stats',
  'uninstall',
  'upgrade',
  'web',
])

/** Options whose value may be any word, and so the name of a command. */
const NAMING: ReadonlySet<string> = new Set([
  '-m',
  '--model',
  '-s',
  '--session',
  '-p',
  '--password',
  '-u',
  '--username',
  '-f',
  '--file',
  '--agent',
  '--command',
  '--dir',
  '--hostname',
  '--prompt',
  '--title',
  '--variant',
])

/**
 * Whether it was started as `opencode run`, which ends as soon as its session is idle (contract 10.1).
 *
 * @param words the command line, without OpenCode itself
 */
export function isRun(words: readonly string[]): boolean {
  const command = words.find((word, index) => COMMANDS.has(word) && !NAMING.has(words[index - 1] ?? ''))
  return command === 'run'
}
