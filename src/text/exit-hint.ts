/** Explains the end of a command whose exit code or signal would mislead a model. Pure. */
import { brief } from './sanitize.ts'
import type { CommandTask, EndedTask } from '../task/task.ts'

/** Programs that succeed whether or not the command piped into them failed. */
const FILTERS = 'awk|cat|column|cut|e?grep|head|jq|nl|rg|sed|sort|tail|tee|tr|uniq|wc'
/** The last command of a line, where the line's exit code is that of this command alone. */
const PIPED = new RegExp(String.raw`(?<![|>])\|&?\s?((?:${FILTERS})\b[^|;&\n()\x60]*)$`)
const FOLLOWED = /(\|\||[;\n])\s?((?:echo|printf|true|:)(?=\s|$)[^|;&\n()`]*)$/
/** The line checks exit codes itself. */
const CAREFUL = /pipefail|pipestatus|\$\?/i
/** The last command may run only if the others succeed: the shell or a command of the line stops earlier. */
const STOPS =
  /\bset\b[^;&|\n]*\s-\w*e|err_?exit|(?:^|[;&|\n({"']|\b(?:then|else|do))\s?(?:exit|return|exec|trap)\b/i
/** Quoted text, which is not syntax, and an escaped character, also a line break. */
const QUOTED = /\\.|'[^']*'|"(?:\\.|[^"\\])*"/gs
const COMMENT = /(?:^|\s)#/
const NAME_LENGTH = 20

/** The program `watch`, a script of that name (`test:watch`), or the flag, unless the flag is false. */
const WATCHES = /(?<![^\s:;&|("'])(?:--)?watch(?:All)?(?![=\s](?:false|no|0)\b)(?![^\s=:;&|)"'])/i

/** Returns the explanation, or `undefined` where the exit code or signal does not mislead. */
export function exitHint(task: CommandTask & EndedTask): string | undefined {
  const { command, exit } = task
  if (task.status === 'completed') return codeHint(command)
  if (task.status !== 'failed' || task.failure.reason !== 'exit' || exit?.type !== 'killed') return undefined
  return /\bpkill\b/.test(command) ? 'pkill -f matches its own shell.' : undefined
}

/** Whether a command line may start a watcher. */
export function mayWatch(command: string): boolean {
  return WATCHES.test(command)
}

/** Returns `undefined` for each line that it cannot parse for certain. */
function codeHint(command: string): string | undefined {
  const line = command.trim().replaceAll(/\s+/g, (blanks) => (blanks.includes('\n') ? '\n' : ' '))
  // `syntax` has the line's length, so that commands have equal offsets in both.
  const syntax = line.replaceAll(QUOTED, (text) => '_'.repeat(text.length)).replaceAll(/(?<=[&|])\n/g, ' ')
  const lastLine = syntax.slice(syntax.lastIndexOf('\n') + 1)
  if (CAREFUL.test(line) || /['"]/.test(syntax) || COMMENT.test(lastLine)) return undefined
  const statement = lastLine.slice(lastLine.lastIndexOf(';') + 1)
  const named = (last: string): string => brief(line.slice(-last.length), NAME_LENGTH)
  const [, piped] = PIPED.exec(syntax) ?? []
  if (piped !== undefined) {
    return /\|\|/.test(statement) ? undefined : `This is the exit code of "${named(piped)}" alone.`
  }
  const [, separator, last] = FOLLOWED.exec(syntax) ?? []
  if (last === undefined || STOPS.test(line)) return undefined
  if (separator !== '||') return `This is the exit code of "${named(last)}" alone.`
  // The output of either branch of `&& … || …` shows whether the rest succeeded.
  return /&&/.test(statement) ? undefined : `The exit code is always 0, because of "|| ${named(last)}".`
}
