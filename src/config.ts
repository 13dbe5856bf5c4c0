/** The options of the plugin: the second element of its tuple in opencode.json. */
import * as z from 'zod/mini'
import { group, option, parseAs, type Parsed } from './option.ts'

const milliseconds = z.int().check(z.minimum(0), z.maximum(2 ** 31 - 1))

const slots = z.int().check(z.minimum(1))

export const optionsSchema = z.strictObject({
  concurrency: group({
    total: option(slots, 10, 'agents at work at the same time, over all sessions of a project'),
    providers: option(
      z.record(z.string(), slots),
      {},
      'the same for single providers, as `{ "anthropic": 3 }`; the strictest limit holds',
    ),
    models: option(
      z.record(z.string(), slots),
      {},
      'the same for single models, as `{ "anthropic/claude-opus-4-5": 1 }`',
    ),
    commands: option(slots, 10, 'shell commands that run at the same time; agents do not count'),
  }),
  maxTasksPerSession: option(slots, 100, 'unfinished tasks of agents of one session; more are refused'),
  notify: group({
    debounceMs: option(
      milliseconds,
      200,
      'how long a notice waits for others while siblings still run; at most ten times that in all',
    ),
    inlineResultBytes: option(
      z.int().check(z.minimum(0)),
      4096,
      'how much of a result stands in its notice (at most 16 KB in all that the parent has not read yet, and some ' +
        '160 bytes each beyond that); the rest is read with `background_output`',
    ),
    wake: option(
      z.enum(['each', 'all', 'never']),
      'each',
      'when a session is woken: for `"each"` burst of ends, when `"all"` its tasks have ended, or `"never"`. A notice ' +
        'that did not wake it goes along with your next message',
    ),
  }),
  toolPrefix: option(
    z
      .string()
      .check(
        z.regex(
          /^([A-Za-z_][\w-]{0,19})?$/,
          'at most 20 letters, digits, "_" and "-", the first one no digit',
        ),
      ),
    '',
    'stands before the name of each tool, as `"bg_"`: for where another plugin or an MCP server has tools of the same names',
  ),
  onInterrupt: option(
    z.enum(['keep', 'cancel']),
    'keep',
    '`"cancel"`: the tasks that a session launched are stopped when you interrupt it',
  ),
  startTimeoutMs: option(
    milliseconds.check(z.minimum(1000)),
    60_000,
    'how long a prompted session may be idle without a final answer before the task counts as failed',
  ),
  timeoutMs: option(
    milliseconds,
    0,
    'how long a run of an agent may take; it is then stopped, and what it did is told. 0: no limit',
  ),
  stalledAfterMs: option(
    milliseconds,
    300_000,
    'after how long without a sign of life the list and `background_output` say so; nothing is stopped. 0: never',
  ),
  permissionTimeoutMs: option(
    milliseconds,
    0,
    "after how long a child's question for a permission is rejected, with a message to the child, which goes on. 0: never",
  ),
  permissionNoticeMs: option(
    milliseconds,
    60_000,
    'after how long without an answer to such a question the parent is told, once, that the task waits for it. 0: never',
  ),
  pollMs: option(
    milliseconds.check(z.minimum(50)),
    5000,
    "how often the sessions' status is asked for, in one call for all, while something runs or a notice is owed",
  ),
  commands: group({
    enabled: option(
      z.boolean(),
      true,
      'whether agents get `run_background`, `check_background` and `kill_background` (never on Windows)',
    ),
    timeoutMs: option(
      milliseconds,
      300_000,
      'how long a command may run that names no timeout of its own. A server, which has written a text of `notify_on` or ' +
        'listens on a TCP port (known on Linux), runs on, which is told. 0: no limit',
    ),
    maxOutputBytes: option(
      z.int().check(z.minimum(1024)),
      1_000_000_000,
      'how much a command may write before it is killed',
    ),
    maxTotalBytes: option(
      z.int().check(z.minimum(1024)),
      5_000_000_000,
      'how much room the files of all commands may take together: those of the commands that ended longest ago, and were ' +
        'told, are removed first',
    ),
    shellEnv: option(
      z.boolean(),
      false,
      'whether commands have the variables that other plugins add by their hook `shell.env`, as direnv plugins do. ' +
        "OpenCode's terminal is opened and closed for each command, which is how a plugin can have those hooks called",
    ),
    killGraceMs: option(
      milliseconds,
      5000,
      'how long a command that is told to end may take before it is killed',
    ),
  }),
  headless: group({
    waitMs: option(
      milliseconds,
      600_000,
      'how long `opencode run` waits in all for the tasks that it has launched, and for the answers to their notices; 0: ' +
        'not at all. While it waits, the text that the agent has just finished is not printed',
    ),
  }),
  tmux: group({
    enabled: option(
      z.boolean(),
      false,
      'inside tmux, each agent at work gets a pane that shows its session, closed 2 s after its end; the focus stays. ' +
        'OpenCode must listen: `opencode --port 4096`',
    ),
    layout: option(
      z.enum(['main-vertical', 'main-horizontal', 'tiled']),
      'main-vertical',
      'the layout of the window: this, `"main-horizontal"` or `"tiled"`',
    ),
    size: option(
      z.int().check(z.minimum(20), z.maximum(90)),
      60,
      "how many percent of the window OpenCode's own pane keeps; not where the panes are tiled",
    ),
    limit: option(slots, 4, 'how many panes there are at most'),
  }),
  debug: option(
    z.boolean(),
    false,
    "each step of each task in OpenCode's log; `OPENCODE_BACKGROUND_DEBUG=1` does the same",
  ),
})

export type Options = z.output<typeof optionsSchema>
export type OptionsInput = z.input<typeof optionsSchema>

export function parseOptions(input: unknown): Parsed<Options> {
  const { options, problems } = parseAs(optionsSchema, input)
  return { options, problems: [...problems, ...idleClocks(input, options)] }
}

/** Of the clocks that were set, those that can never ring, since the run is stopped before. */
function idleClocks(given: unknown, options: Options): string[] {
  const { timeoutMs } = options
  if (timeoutMs === 0 || typeof given !== 'object' || given === null) return []
  return (['startTimeoutMs', 'stalledAfterMs', 'permissionTimeoutMs', 'permissionNoticeMs'] as const)
    .filter((name) => Object.hasOwn(given, name) && options[name] >= timeoutMs)
    .map((name) => `${name}: is not shorter than timeoutMs (${timeoutMs}), so that it never acts`)
}
