/** The options of the plugin: the second element of its tuple in opencode.json. */
import * as z from 'zod/mini'
import { meaning } from './option-meaning.ts'
import { group, option, parseAs, type Parsed } from './parse-options.ts'

const milliseconds = z.int().check(z.minimum(0), z.maximum(2 ** 31 - 1))

const slots = z.int().check(z.minimum(1))

const amount = z.number().check(z.minimum(0))

const budgetOptions = (whose: string) =>
  group({
    cost: option(
      amount,
      0,
      meaning(`most that ${whose} may cost, in US dollars. 0: no limit, as for the next three`),
    ),
    tokens: option(amount, 0, meaning(`most tokens that ${whose} may use, with those read from the cache`)),
    toolCalls: option(amount, 0, meaning(`most tool calls of ${whose}`)),
    minutes: option(
      amount,
      0,
      meaning(`most minutes that ${whose} may work, without waits for a slot and for permissions`),
    ),
  })

export const optionsSchema = z.strictObject({
  concurrency: group({
    total: option(slots, 10, meaning('maximum number of agents at work, over all sessions of a project')),
    providers: option(
      z.record(z.string(), slots),
      {},
      meaning('limits for single providers, as `{ "anthropic": 3 }`; the strictest limit applies'),
    ),
    models: option(
      z.record(z.string(), slots),
      {},
      meaning('limits for single models, as `{ "anthropic/claude-opus-4-5": 1 }`'),
    ),
    commands: option(slots, 10, meaning('maximum number of running shell commands; agents do not count')),
  }),
  maxTasksPerSession: option(
    slots,
    100,
    meaning('limit of unfinished agents of one session; more are refused'),
  ),
  budget: group({
    task: budgetOptions('all runs of a task together'),
    session: budgetOptions('all tasks of a session together'),
  }),
  notify: group({
    debounceMs: option(
      milliseconds,
      200,
      meaning(
        'how long a notice waits for others while sibling tasks still run; longer while tasks keep ending one after another, ' +
          'at most ten times as long in total',
      ),
    ),
    inlineResultBytes: option(
      z.int().check(z.minimum(0)),
      4096,
      meaning(
        'maximum size of a result in its notice (all notices that the parent has not read yet share 16 KB, and each ' +
          'gets at least 160 bytes); `background_output` reads the rest',
      ),
    ),
    monitorGapMs: option(
      milliseconds,
      30_000,
      meaning(
        'shortest time between two notices of a monitor (`notify_every`); all lines that match in between come as one notice',
      ),
    ),
    wake: option(
      z.enum(['each', 'all', 'never']),
      'each',
      meaning(
        'when notices wake a session: after `"each"` burst of ends, after `"all"` its tasks have ended, or `"never"`. ' +
          'Your next message delivers a notice that did not wake it',
      ),
    ),
  }),
  toolPrefix: option(
    z
      .string()
      .check(
        z.regex(
          /^([A-Za-z_][\w-]{0,19})?$/,
          'expected at most 20 letters, digits, "_" and "-", the first a letter or "_"',
        ),
      ),
    '',
    meaning(
      'prefix of each tool name, as `"bg_"`, for when another plugin or an MCP server has tools of the same names',
    ),
  ),
  onInterrupt: option(
    z.enum(['keep', 'cancel']),
    'keep',
    meaning('`"cancel"`: your interrupt of a session also cancels the tasks that it launched'),
  ),
  afterRestart: option(
    z.enum(['tell', 'continue']),
    'tell',
    meaning(
      'what happens to agents that a restart of OpenCode has interrupted: your next message reports them (`"tell"`), or also ' +
        'continues them, at most twice for each task (`"continue"`)',
    ),
  ),
  startTimeoutMs: option(
    milliseconds.check(z.minimum(1000)),
    60_000,
    meaning('how long a prompted session may be idle without a final answer before its task fails'),
  ),
  timeoutMs: option(
    milliseconds,
    0,
    meaning(
      'time limit of an agent run; the run is then stopped, and its notice reports the work so far. 0: no limit',
    ),
  ),
  stalledAfterMs: option(
    milliseconds,
    300_000,
    meaning(
      'time without an event of an agent until the list and `background_output` report that; nothing is stopped. 0: never',
    ),
  ),
  permissionTimeoutMs: option(
    milliseconds,
    0,
    meaning(
      "time after which a child's unanswered permission request is rejected; the child reads that and continues. 0: never",
    ),
  ),
  permissionNoticeMs: option(
    milliseconds,
    60_000,
    meaning(
      'time after which a notice reports an unanswered permission request to the parent, once. 0: never',
    ),
  ),
  pollMs: option(
    milliseconds.check(z.minimum(50)),
    5000,
    meaning(
      "interval of polling the sessions' status, in one call for all, while a task runs or a notice is owed",
    ),
  ),
  commands: group({
    enabled: option(
      z.boolean(),
      true,
      meaning(
        'whether agents get `run_background`, `check_background` and `kill_background` (never on Windows)',
      ),
    ),
    timeoutMs: option(
      milliseconds,
      300_000,
      meaning(
        'time limit of a command without a timeout of its own. A server, which has written a text of `notify_on` or ' +
          'listens on a TCP port (known on Linux), runs on, and a notice reports that. 0: no limit',
      ),
    ),
    maxOutputBytes: option(
      z.int().check(z.minimum(1024)),
      1_000_000_000,
      meaning('maximum output of a command; beyond it the command is killed'),
    ),
    maxTotalBytes: option(
      z.int().check(z.minimum(1024)),
      5_000_000_000,
      meaning(
        'maximum size of the files of all commands together; beyond it, the files of commands whose ends were reported ' +
          'are removed, the oldest end first',
      ),
    ),
    shellEnv: option(
      z.boolean(),
      false,
      meaning(
        'whether commands get the variables that other plugins add in their hook `shell.env`, as direnv plugins do. ' +
          'A terminal of OpenCode is opened and closed for each command, because that calls those hooks',
      ),
    ),
    killGraceMs: option(
      milliseconds,
      5000,
      meaning('how long a command may take to end after SIGTERM before it is killed'),
    ),
  }),
  headless: group({
    waitMs: option(
      milliseconds,
      600_000,
      meaning(
        'how long `opencode run` waits in total for the tasks that it launched, and for the answers to their notices. ' +
          'While it waits, it does not print the text that the agent has just finished. 0: no wait',
      ),
    ),
  }),
  tmux: group({
    enabled: option(
      z.boolean(),
      false,
      meaning(
        'inside tmux, each agent at work gets a pane that shows its session, closed 2 s after its end; the focus stays. ' +
          'OpenCode must listen: `opencode --port 4096`',
      ),
    ),
    layout: option(
      z.enum(['main-vertical', 'main-horizontal', 'tiled']),
      'main-vertical',
      meaning('the layout of the window: this, `"main-horizontal"` or `"tiled"`'),
    ),
    size: option(
      z.int().check(z.minimum(20), z.maximum(90)),
      60,
      meaning('size of OpenCode\'s own pane, in percent of the window; `"tiled"` ignores it'),
    ),
    limit: option(slots, 4, meaning('maximum number of panes')),
  }),
  worktree: group({
    agents: option(
      z.array(z.string()),
      [],
      meaning(
        'names of agents that always work in a worktree, as `["build"]`; `worktree: false` in a call overrides it',
      ),
    ),
    base: option(
      z.enum(['now', 'head']),
      'now',
      meaning(
        'what a worktree begins with: your checkout as it is `"now"`, or the commit of `"head"` without your changes',
      ),
    ),
    directory: option(
      z.string().check(z.regex(/^(\/.*)?$/, 'expected an absolute path')),
      '',
      meaning(
        'contains the worktrees; absolute, and outside of your checkout or ignored there. By default ' +
          '`$XDG_STATE_HOME/opencode-background/worktrees`',
      ),
    ),
    setup: option(
      z.string(),
      '',
      meaning(
        'command line that runs in each new worktree before its agent starts, as `"npm ci --prefer-offline"`, with the ' +
          'permissions and limits of a background command',
      ),
    ),
    keepDays: option(
      slots,
      7,
      meaning(
        'days after which the worktree of an ended task is removed. Its branch has all of its files, and is kept until they are applied or merged',
      ),
    ),
    max: option(slots, 10, meaning('maximum number of worktrees of a project; a further launch is refused')),
    submodules: option(
      z.boolean(),
      false,
      meaning(
        'whether worktrees get the files of their submodules: from the objects of your checkout, otherwise from the remote',
      ),
    ),
  }),
  machines: option(
    z.record(
      z
        .string()
        .check(z.regex(/^(?!any$)[a-z][\w-]{0,31}$/, 'expected a short lowercase name other than "any"')),
      group({
        url: option(
          z.string().check(z.regex(/^(https?:\/\/[^@\s]+)?$/, 'expected a URL without a password')),
          '',
          meaning('the URL of its `opencode serve`, without a password'),
        ),
        directory: option(
          z.string().check(z.regex(/^(\/.*)?$/, 'expected an absolute path')),
          '',
          meaning('the absolute path of the clone of the repository there'),
        ),
        passwordEnv: option(
          z.string().check(z.regex(/^([A-Z_][A-Z0-9_]*)?$/, 'expected the NAME of a variable in capitals')),
          '',
          meaning(
            'the name of the environment variable with the password of its server, as `"BIG_PASSWORD"`; not `{env:…}`, which OpenCode replaces by the value',
          ),
        ),
        slots: option(slots, 2, meaning('maximum number of agents at work there')),
        labels: option(
          z.array(z.string()),
          [],
          meaning('words that tasks can name in `where` instead of its name'),
        ),
        untracked: option(z.boolean(), false, meaning('whether files that git does not track travel too')),
      }),
    ),
    {},
    meaning(
      'other machines on which agents can work, by name, as `{ "big": { "url": "http://127.0.0.1:4097", "directory": "/home/me/project" } }`; see docs/machines.md',
    ),
  ),
  fleet: group({
    db: option(
      z
        .string()
        .check(
          z.regex(
            /^([A-Za-z_]\w*|\/.*)?$/,
            'expected the name of an environment variable (without {env:…}), or the absolute path of a private file',
          ),
        ),
      '',
      meaning(
        'where the URL of the PostgreSQL with the queue of a fleet is, as `"FLEET_DB"`: the name of an environment variable, not `{env:…}`, or the absolute path of a file that only you can read. Tasks with `where` then run at workers of the fleet',
      ),
    ),
    labels: option(
      z.array(z.string()),
      [],
      meaning('labels of workers that tasks can name in `where`, besides `"any"`, as `["gpu"]`'),
    ),
    remote: option(
      z.string(),
      '',
      meaning(
        'a remote of your checkout from which the workers can fetch too, as `"origin"`: tasks then send only the commits that it lacks. By default they send all commits, up to 50 MB',
      ),
    ),
  }),
  debug: option(
    z.boolean(),
    false,
    meaning("writes each step of each task to OpenCode's log; `OPENCODE_BACKGROUND_DEBUG=1` does the same"),
  ),
})

export type Options = z.output<typeof optionsSchema>
export type OptionsInput = z.input<typeof optionsSchema>

export function parseOptions(input: unknown): Parsed<Options> {
  const { options, problems } = parseAs(optionsSchema, input)
  const lacking = Object.entries(options.machines).filter(([, { url, directory }]) => !url || !directory)
  const machines = lacking.map(([name]) => `machines.${name}: needs url and directory; it is left out`)
  for (const [name] of lacking) Reflect.deleteProperty(options.machines, name)
  return { options, problems: [...problems, ...machines, ...idleClocks(input, options)] }
}

/** Reports time limits of the user that have no effect, because `timeoutMs` stops the run earlier. */
function idleClocks(given: unknown, options: Options): string[] {
  const { timeoutMs } = options
  if (timeoutMs === 0 || typeof given !== 'object' || given === null) return []
  return (['startTimeoutMs', 'stalledAfterMs', 'permissionTimeoutMs', 'permissionNoticeMs'] as const)
    .filter((name) => Object.hasOwn(given, name) && options[name] >= timeoutMs)
    .map((name) => `${name}: has no effect, because it must be shorter than timeoutMs (${timeoutMs})`)
}
