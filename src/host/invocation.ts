/** Reads from the command line how OpenCode was started. */

/** OpenCode's global options without a value. */
const FLAGS: ReadonlySet<string> = new Set(['--print-logs', '--pure', '--help', '-h', '--version', '-v'])

/**
 * Whether OpenCode was started as `opencode run`, which ends as soon as its session is idle (contract 10.1). The first
 * word that is neither an option nor its value is the command, or else a project for the terminal UI.
 *
 * @param words the command line, without OpenCode itself
 */
export function isRun(words: readonly string[]): boolean {
  const [word = '', next = '', ...rest] = words
  if (!word.startsWith('-')) return word === 'run'
  if (word === '--') return false
  return isRun(takesNext(word, next) ? rest : words.slice(1))
}

/** Whether an option consumes the next word. OpenCode knows no command's option before its name, so each does (seen). */
function takesNext(option: string, next: string): boolean {
  if (FLAGS.has(option)) return next === 'true' || next === 'false'
  return !option.includes('=') && !option.startsWith('--no-') && !next.startsWith('-')
}
