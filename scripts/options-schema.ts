/**
 * What the options mean, for editors: the schema of the second element of the plugin's tuple in opencode.json. It stands
 * apart from `src/config.ts` because a server has no use for it, and would read it at each start.
 */
import * as z from 'zod'
import { optionsSchema, type Options } from '../src/config.ts'

/** A text for each option, in their groups; a record by names is one option. */
type TextsOf<Group> = {
  readonly [Name in keyof Group]: Group[Name] extends object
    ? string extends keyof Group[Name]
      ? string
      : TextsOf<Group[Name]>
    : string
}

interface Texts {
  readonly [name: string]: string | Texts
}

const TEXTS: TextsOf<Options> = {
  concurrency: {
    total: 'Agents that run at the same time, over all sessions.',
    providers: 'The same for single providers, as { "anthropic": 3 }. The strictest limit holds.',
    models: 'The same for single models, as { "anthropic/claude-opus-4-5": 1 }.',
    commands: 'Shell commands that run at the same time; agents do not count.',
  },
  maxTasksPerSession: 'Unfinished tasks of agents that one session may have.',
  notify: {
    debounceMs: 'How long a notice waits for others while siblings still run; at most ten times that in all.',
    inlineResultBytes: 'How much of a result stands in the notice itself; at most 16 KB in one message.',
    wake:
      'When a session is woken by the ends of its tasks: for each burst, when all have ended, or never. What ' +
      'did not wake it goes on the next message of the user.',
  },
  onInterrupt: 'What happens to the tasks of a session that the user interrupts.',
  startTimeoutMs:
    'How long a prompted session may stay idle without an answer before the task counts as failed.',
  timeoutMs: 'How long a run of an agent may take; it is then stopped, and what it did is told. 0: no limit.',
  stalledAfterMs: 'After how long without a sign of life the list says so; nothing is stopped. 0: never.',
  permissionTimeoutMs:
    "After how long a child's question for a permission is rejected, so that it goes on. 0: never.",
  pollMs: 'How often the status of the sessions is asked for, while something runs or a notice is owed.',
  commands: {
    enabled: 'Whether agents get the tools for shell commands.',
    timeoutMs: 'How long a command may run that names no timeout of its own. 0: no limit.',
    maxOutputBytes: 'How much a command may write before it is killed.',
    killGraceMs: 'How long a command that is to end may take before it is killed.',
  },
  run: {
    waitMs: 'How long `opencode run` waits in all for what it has launched; 0: not at all.',
  },
  tmux: {
    enabled: 'Whether each agent at work gets a pane of tmux that shows its session.',
    layout: "The layout of the window's panes.",
    size: "The share of the window that OpenCode's own pane keeps, in percent; not where they are tiled.",
    limit: 'How many panes there are at most.',
  },
  debug: "Write each step of each task to OpenCode's log.",
}

/** JSON Schema of the options, with the texts in it. */
export function optionsJSONSchema(): object {
  const schema = z.toJSONSchema(optionsSchema, { io: 'input' })
  return { title: 'Options of opencode-background', ...described(schema, TEXTS) }
}

function described(schema: z.core.JSONSchema.BaseSchema, texts: Texts): z.core.JSONSchema.BaseSchema {
  const properties = Object.entries(texts).map(([name, text]) => {
    const property = schema.properties?.[name]
    if (typeof property !== 'object') throw new Error(`There is no option ${name}.`)
    return [name, typeof text === 'string' ? { ...property, description: text } : described(property, text)]
  })
  return { ...schema, properties: Object.fromEntries(properties) as NonNullable<typeof schema.properties> }
}
