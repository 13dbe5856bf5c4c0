/** Remarks on the end of a command, where its exit code or signal misleads a model. Pure. */
import { brief } from './sanitize.ts'
import { type CommandTask, type EndedTask } from '../task/task.ts'

/** Programs behind a pipe of which the success says nothing of what was piped into them. */
const FILTERS = 'awk|cat|column|cut|e?grep|head|jq|nl|rg|sed|sort|tail|tee|tr|uniq|wc'
/** The last command of a line, where its exit code is its own alone. */
const PIPED = new RegExp(String.raw`(?<![|>])\|&?\s?((?:${FILTERS})\b[^|;&\n()\x60]*)$`)
const FOLLOWED = /(\|\||[;\n])\s?((?:echo|printf|true|:)(?=\s|$)[^|;&\n()`]*)$/
/** The line looks after the exit code itself. */
const CAREFUL = /pipefail|pipestatus|\$\?/i
/** The last command runs only if those before it succeeded: the shell stops at a failure, or by a command of the line. */
const STOPS =
  /\bset\b[^;&|\n]*\s-\w*e|err_?exit|(?:^|[;&|\n({"']|\b(?:then|else|do))\s?(?:exit|return|exec|trap)\b/i
/** Text that is no syntax, and a line break that is none. */
const QUOTED = /\\.|'[^']*'|"(?:\\.|[^"\\])*"/gs
const COMMENT = /(?:^|\s)#/
const NAME_LENGTH = 20

/** The program `watch`, a script of that name (`test:watch`), or the flag, unless it is switched off. */
const WATCHES = /(?<![^\s:;&|("'])(?:--)?watch(?:All)?(?![=\s](?:false|no|0)\b)(?![^\s=:;&|)"'])/i

/** A sentence, or `undefined` where its exit code or signal says all. */
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

/** Says nothing of a line of which this is no certain reading. */
function codeHint(command: string): string | undefined {
  const line = command.trim().replaceAll(/\s+/g, (blanks) => (blanks.includes('\n') ? '\n' : ' '))
  // As long as the line, so that its commands stand at the same places.
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
  // Either branch of `&& … || …` tells itself what became of the rest.
  return /&&/.test(statement) ? undefined : `The exit code is 0 in any case, by "|| ${named(last)}".`
}
