/**
 * The options of the plugin: the second element of its tuple in opencode.json. A bad value falls back to its own
 * default, alone, and is named in `problems`: an option must never keep the plugin from loading, because the host
 * would not say why it is missing (TUI notes, section 1).
 */
import * as z from 'zod/mini'
import { inEnglish } from './english.ts'

const milliseconds = z.int().check(z.minimum(0), z.maximum(2 ** 31 - 1))

const slots = z.int().check(z.minimum(1))

/** What an option is when it is left out, and what it means. */
function option<Schema extends z.ZodMiniType>(
  schema: Schema,
  byDefault: z.output<Schema>,
  description: string,
) {
  return z._default(schema, byDefault as never).check(z.describe(description))
}

/** Options that belong together, each of which may be left out. */
function group<Shape extends z.core.$ZodShape>(shape: Shape) {
  return z.prefault(z.strictObject(shape), {} as never)
}

export const optionsSchema = z.strictObject({
  concurrency: group({
    total: option(slots, 10, 'Agents that run at the same time, over all sessions.'),
    providers: option(
      z.record(z.string(), slots),
      {},
      'The same for single providers, as { "anthropic": 3 }. The strictest limit holds.',
    ),
    models: option(
      z.record(z.string(), slots),
      {},
      'The same for single models, as { "anthropic/claude-opus-4-5": 1 }.',
    ),
    commands: option(slots, 10, 'Shell commands that run at the same time; agents do not count.'),
  }),
  maxTasksPerSession: option(slots, 100, 'Unfinished tasks of agents that one session may have.'),
  notify: group({
    debounceMs: option(
      milliseconds,
      200,
      'How long a notice waits for others while siblings still run; at most ten times that in all.',
    ),
    inlineResultBytes: option(
      z.int().check(z.minimum(0)),
      4096,
      'How much of a result stands in the notice itself; at most 16 KB in one message.',
    ),
    wake: option(
      z.enum(['each', 'all', 'never']),
      'each',
      'When a session is woken by the ends of its tasks: for each burst, when all have ended, or never. What ' +
        'did not wake it goes on the next message of the user.',
    ),
  }),
  onInterrupt: option(
    z.enum(['keep', 'cancel']),
    'keep',
    'What happens to the tasks of a session that the user interrupts.',
  ),
  startTimeoutMs: option(
    milliseconds.check(z.minimum(1000)),
    60_000,
    'How long a prompted session may stay idle without an answer before the task counts as failed.',
  ),
  timeoutMs: option(
    milliseconds,
    0,
    'How long a run of an agent may take; it is then stopped, and what it did is told. 0: no limit.',
  ),
  stalledAfterMs: option(
    milliseconds,
    300_000,
    'After how long without a sign of life the list says so; nothing is stopped. 0: never.',
  ),
  permissionTimeoutMs: option(
    milliseconds,
    0,
    "After how long a child's question for a permission is rejected, so that it goes on. 0: never.",
  ),
  pollMs: option(
    milliseconds.check(z.minimum(50)),
    5000,
    'How often the status of the sessions is asked for, while something runs or a notice is owed.',
  ),
  commands: group({
    enabled: option(z.boolean(), true, 'Whether agents get the tools for shell commands.'),
    timeoutMs: option(
      milliseconds,
      300_000,
      'How long a command may run that names no timeout of its own. 0: no limit.',
    ),
    maxOutputBytes: option(
      z.int().check(z.minimum(1024)),
      1_000_000_000,
      'How much a command may write before it is killed.',
    ),
    killGraceMs: option(
      milliseconds,
      5000,
      'How long a command that is to end may take before it is killed.',
    ),
  }),
  run: group({
    waitMs: option(
      milliseconds,
      600_000,
      'How long `opencode run` waits in all for what it has launched; 0: not at all.',
    ),
  }),
  tmux: group({
    enabled: option(
      z.boolean(),
      false,
      'Whether each agent at work gets a pane of tmux that shows its session.',
    ),
    layout: option(
      z.enum(['main-vertical', 'main-horizontal', 'tiled']),
      'main-vertical',
      "The layout of the window's panes.",
    ),
    size: option(
      z.int().check(z.minimum(20), z.maximum(90)),
      60,
      "The share of the window that OpenCode's own pane keeps, in percent; not where they are tiled.",
    ),
    limit: option(slots, 4, 'How many panes there are at most.'),
  }),
  debug: option(z.boolean(), false, "Write each step of each task to OpenCode's log."),
})

export type Options = z.output<typeof optionsSchema>
export type OptionsInput = z.input<typeof optionsSchema>

export interface ParsedOptions {
  readonly options: Options
  /** One sentence for each option that was not understood. */
  readonly problems: readonly string[]
}

export function parseOptions(input: unknown): ParsedOptions {
  const problems: string[] = []
  let remaining: unknown = structuredClone(input ?? {})
  for (;;) {
    const result = optionsSchema.safeParse(remaining, inEnglish)
    if (result.success)
      return { options: result.data, problems: [...problems, ...idleClocks(remaining, result.data)] }
    for (const issue of result.error.issues) {
      const paths =
        issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path]
      for (const path of paths) {
        if (path.length === 0) remaining = {}
        else remove(remaining, path)
        problems.push(
          `${path.length === 0 ? 'options' : path.join('.')}: ${issue.message}; the default is used`,
        )
      }
    }
  }
}

/** Of the clocks that were set, those that can never ring, since the run is stopped before. */
function idleClocks(given: unknown, options: Options): string[] {
  const { timeoutMs } = options
  if (timeoutMs === 0 || typeof given !== 'object' || given === null) return []
  return (['startTimeoutMs', 'stalledAfterMs', 'permissionTimeoutMs'] as const)
    .filter((name) => Object.hasOwn(given, name) && options[name] >= timeoutMs)
    .map((name) => `${name}: is not shorter than timeoutMs (${timeoutMs}), so that it never acts`)
}

function remove(target: unknown, path: readonly PropertyKey[]): void {
  const [key, ...rest] = path
  if (typeof target !== 'object' || target === null || key === undefined) return
  if (rest.length === 0) Reflect.deleteProperty(target, key)
  else remove(Reflect.get(target, key), rest)
}
