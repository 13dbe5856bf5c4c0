/** How OpenCode was started, as far as its command line shows it. */

/** The options that are OpenCode's own, and take no value. */
const FLAGS: ReadonlySet<string> = new Set(['--print-logs', '--pure', '--help', '-h', '--version', '-v'])

/**
 * Whether it was started as `opencode run`, which ends as soon as its session is idle (contract 10.1): the first word that
 * is neither an option nor its value is the command, or else a project of the terminal UI.
 *
 * @param words the command line, without OpenCode itself
 */
export function isRun(words: readonly string[]): boolean {
  const [word = '', next = '', ...rest] = words
  if (!word.startsWith('-')) return word === 'run'
  if (word === '--') return false
  return isRun(takesNext(word, next) ? rest : words.slice(1))
}

/** OpenCode does not know the options of a command before its name, so that each takes the word behind it (seen). */
function takesNext(option: string, next: string): boolean {
  if (FLAGS.has(option)) return next === 'true' || next === 'false'
  return !option.includes('=') && !option.startsWith('--no-') && !next.startsWith('-')
}
