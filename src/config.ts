/**
 * The options of the plugin: the second element of its tuple in opencode.json. A bad value falls back to its own
 * default, alone, and is named in `problems`: an option must never keep the plugin from loading, because the host
 * would not say why it is missing (TUI notes, section 1).
 */
import * as z from 'zod'

const milliseconds = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)

const slots = z.int().min(1)

export const optionsSchema = z.strictObject({
  concurrency: z
    .strictObject({
      total: slots.default(10).describe('Agents that run at the same time, over all sessions.'),
      providers: z
        .record(z.string(), slots)
        .default({})
        .describe('The same for single providers, as { "anthropic": 3 }. The strictest limit holds.'),
      models: z
        .record(z.string(), slots)
        .default({})
        .describe('The same for single models, as { "anthropic/claude-opus-4-5": 1 }.'),
      commands: slots.default(10).describe('Shell commands that run at the same time; agents do not count.'),
    })
    .prefault({}),
  maxTasksPerSession: z
    .int()
    .min(1)
    .default(100)
    .describe('Unfinished tasks of agents that one session may have.'),
  notify: z
    .strictObject({
      debounceMs: milliseconds
        .default(100)
        .describe(
          'How long a notice waits for others while siblings still run; at most four times that in all.',
        ),
      inlineResultBytes: z
        .int()
        .min(0)
        .default(4096)
        .describe('How much of a result stands in the notice itself; at most 16 KB in one message.'),
      wake: z
        .enum(['each', 'all', 'never'])
        .default('each')
        .describe(
          'When a session is woken by the ends of its tasks: for each burst, when all have ended, or never. What ' +
            'did not wake it goes on the next message of the user.',
        ),
    })
    .prefault({}),
  onInterrupt: z
    .enum(['keep', 'cancel'])
    .default('keep')
    .describe('What happens to the tasks of a session that the user interrupts.'),
  startTimeoutMs: milliseconds
    .min(1000)
    .default(60_000)
    .describe(
      'How long a prompted session may stay idle without an answer before the task counts as failed.',
    ),
  timeoutMs: milliseconds
    .default(0)
    .describe(
      'How long a run of an agent may take; it is then stopped, and what it did is told. 0: no limit.',
    ),
  stalledAfterMs: milliseconds
    .default(300_000)
    .describe('After how long without a sign of life the list says so; nothing is stopped. 0: never.'),
  permissionTimeoutMs: milliseconds
    .default(0)
    .describe(
      "After how long a child's question for a permission is rejected, so that it goes on. 0: never.",
    ),
  pollMs: milliseconds
    .min(50)
    .default(5000)
    .describe('How often the status of the sessions is asked for, while something runs or a notice is owed.'),
  commands: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Whether agents get the tools for shell commands.'),
      timeoutMs: milliseconds
        .default(300_000)
        .describe('How long a command may run that names no timeout of its own. 0: no limit.'),
      maxOutputBytes: z
        .int()
        .min(1024)
        .default(1_000_000_000)
        .describe('How much a command may write before it is killed.'),
      killGraceMs: milliseconds
        .default(5000)
        .describe('How long a command that is to end may take before it is killed.'),
    })
    .prefault({}),
  run: z
    .strictObject({
      waitMs: milliseconds
        .default(600_000)
        .describe('How long `opencode run` waits in all for what it has launched; 0: not at all.'),
    })
    .prefault({}),
  debug: z.boolean().default(false).describe("Write each step of each task to OpenCode's log."),
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
    const result = optionsSchema.safeParse(remaining)
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
