/** Remarks on the end of a command, where its exit code or signal misleads a model. Pure. */
import { brief } from '../plain.ts'
import { type CommandTask, type EndedTask } from '../task/task.ts'

/** Programs behind a pipe of which the success says nothing of what was piped into them. */
const FILTERS = 'awk|cat|column|cut|e?grep|head|jq|nl|rg|sed|sort|tail|tee|tr|uniq|wc'
/** The last command of a line, where its exit code is its own alone. */
const PIPED = new RegExp(String.raw`(?<!\|)\|&?\s*((?:${FILTERS})\b[^|;&\n()\x60]*)$`)
const FOLLOWED = /(?:\|\||;|\n)\s*((?:echo|printf|true|:)(?=\s|$)[^|;&\n()`]*)$/
/** The line looks after the exit code itself. */
const CAREFUL = /pipefail|PIPESTATUS|\$\?/
const NAME_LENGTH = 20

/** A sentence, or `undefined` where its exit code or signal says all. */
export function exitHint(task: CommandTask & EndedTask): string | undefined {
  const { command, exit } = task
  if (task.status === 'completed') {
    const last = lastOf(command.trimEnd())
    return last === undefined ? undefined : `This is the exit code of "${brief(last, NAME_LENGTH)}" alone.`
  }
  if (task.status !== 'failed' || task.failure.reason !== 'exit' || exit?.type !== 'killed') return undefined
  return /\bpkill\b/.test(command) ? 'pkill -f matches its own shell.' : undefined
}

function lastOf(command: string): string | undefined {
  if (CAREFUL.test(command)) return undefined
  const last = (PIPED.exec(command) ?? FOLLOWED.exec(command))?.[1]
  // An odd quote was opened before: this is a text, and no command.
  return last !== undefined && (last.match(/["']/g) ?? []).length % 2 === 0 ? last : undefined
}
