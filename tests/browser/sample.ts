/** Makes timelines of sessions: the same for the same options. They look as those of a real session do. */
import type {
  Interval,
  Mark,
  Phase,
  SessionTimeline,
  TaskTimeline,
  ToolSpan,
  Turn,
} from '../../src/session-timeline/session-timeline.ts'

interface SampleOptions {
  readonly tasks: number
  readonly slots?: number
  readonly isRedacted?: boolean
  /** Nothing of any run was recorded. */
  readonly isUnknown?: boolean
  /** Of a task, on average. */
  readonly turns?: number
  readonly findings?: readonly string[]
}

const SECOND = 1000
/** 2026-11-26, 09:30 UTC. */
const START = Date.UTC(2026, 10, 26, 9, 30)
const MODELS = ['anthropic/claude-sonnet-5', 'openai/gpt-6-mini']
const TOOLS = [
  'read',
  'read',
  'read',
  'grep',
  'glob',
  'edit',
  'edit',
  'bash',
  'bash',
  'webfetch',
  'todowrite',
]

const WORK: readonly (readonly [agent: string, description: string, isSlow?: boolean])[] = [
  ['explore', 'Find where sessions are stored'],
  ['explore', 'List the callers of parseConfig'],
  ['explore', 'How are errors shown to users?'],
  ['general', 'Compare three date libraries'],
  ['command', 'npm run dev'],
  ['general', 'Write tests for the parser', true],
  ['explore', 'Find dead code in src/legacy'],
  ['review', 'Review the login flow'],
  ['command', 'npm test -- --watch=false'],
  ['general', 'Move the settings to a schema', true],
  ['review', 'Check the licences of all packages'],
  ['explore', 'Which routes lack a test?'],
  ['general', 'Translate the help texts to German'],
  ['command', 'docker compose up db'],
  ['review', 'Review the migration for locks', true],
  ['general', 'Update the changelog and the docs'],
  ['explore', 'Measure the start of the server'],
  ['general', 'Fix the flaky upload test', true],
  ['review', 'Review the new cache'],
  ['command', 'npm run build'],
]

/** Mulberry32: a number from 0 to 1 a call. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function sampleTimeline({
  tasks: number,
  slots = 4,
  isRedacted = false,
  isUnknown = false,
  turns = 9,
  findings = [],
}: SampleOptions): SessionTimeline {
  const next = random(number + slots)
  const between = (low: number, high: number): number => Math.round(low + next() * (high - low))
  const tasks: TaskTimeline[] = []
  const freeAt = Array.from({ length: slots }, () => START)
  const batches: Interval[] = []
  let launchedAt = START + 6 * SECOND
  for (let index = 0; index < number; index += 1) {
    if (index % 5 === 0) {
      launchedAt += between(20, 70) * SECOND
      batches.push({ from: launchedAt - between(5, 12) * SECOND, to: launchedAt + 6 * SECOND })
    }
    const [agent, description, isSlow = false] = WORK[index % WORK.length] ?? ['general', 'Work']
    const after = index % 7 === 5 ? tasks[index - 4] : undefined
    const launch = launchedAt + (index % 5) * SECOND
    const isCommand = agent === 'command'
    const slot = freeAt.indexOf(Math.min(...freeAt))
    const start = Math.max(
      launch + 300,
      isCommand ? 0 : (freeAt[slot] ?? 0),
      after ? (after.runs.at(-1)?.to ?? 0) : 0,
    )
    const calls = isCommand ? [] : turnsFrom(start, Math.ceil(turns * (isSlow ? 2 : 0.4 + next())), between)
    const to = isCommand ? start + between(20, 200) * SECOND : (calls.at(-1)?.to ?? start)
    if (!isCommand) freeAt[slot] = to
    tasks.push(
      taskOf({
        index,
        agent,
        description,
        launch,
        start,
        to,
        turns: calls,
        after: after?.id,
        isUnknown,
        isRedacted,
      }),
    )
  }
  const ends = tasks.map(({ runs }) => runs.at(-1)?.to ?? 0)
  const readAt = Math.max(START + 30 * SECOND, ...ends)
  return {
    sessionID: 'ses_4f1c2a9be001RkZ0Q8vYtLm3Xd',
    title: isRedacted ? '' : 'Get the release ready',
    directory: isRedacted ? '' : '/home/user/shop',
    readAt,
    turns: [
      ...batches,
      ...ends.filter((_, index) => index % 3 === 0).map((at) => ({ from: at + 400, to: at + 7000 })),
    ]
      .sort((a, b) => a.from - b.from)
      .map((turn) => ({
        ...turn,
        model: 'anthropic/claude-opus-5',
        tokens: between(9000, 40_000),
        cost: between(8, 60) / 1000,
        tools: [{ tool: 'background_task', from: turn.to - 1500, to: turn.to - 300 }],
      })),
    tasks: tasks.map((task) => stillRunning(task, readAt)),
    limits: { total: slots },
    findings,
    redacted: isRedacted,
  }
}

function turnsFrom(start: number, number: number, between: (low: number, high: number) => number): Turn[] {
  const turns: Turn[] = []
  let at = start + 200
  for (let index = 0; index < number; index += 1) {
    const tools: ToolSpan[] = []
    let toolAt = at + between(1200, 9000)
    const calls = index < number - 1 ? between(0, 3) : 0
    for (let call = 0; call < calls; call += 1) {
      const tool = TOOLS[between(0, TOOLS.length - 1)] ?? 'read'
      const to = toolAt + (tool === 'bash' ? between(800, 14_000) : between(30, 1500))
      tools.push({ tool, from: toolAt, to, ...(between(0, 14) === 0 && { failed: true }) })
      toolAt = to + 20
    }
    turns.push({
      from: at,
      to: toolAt + 100,
      model: MODELS[number % 2] ?? '',
      tokens: between(3000, 26_000),
      cost: between(1, 45) / 1000,
      tools,
    })
    at = toolAt + between(100, 400)
  }
  return turns
}

interface Planned extends Interval {
  readonly index: number
  readonly agent: string
  readonly description: string
  readonly launch: number
  readonly start: number
  readonly turns: readonly Turn[]
  readonly after: string | undefined
  readonly isUnknown: boolean
  readonly isRedacted: boolean
}

function taskOf(planned: Omit<Planned, 'from'>): TaskTimeline {
  const { index, agent, description, launch, start, to, turns, after, isUnknown, isRedacted } = planned
  const phases = isUnknown
    ? [{ type: 'unknown' as const, from: launch, to }]
    : phasesOf(index, launch, start, to)
  const lengthOf = (...types: readonly Phase['type'][]): number =>
    phases.filter(({ type }) => types.includes(type)).reduce((all, phase) => all + phase.to - phase.from, 0)
  const status = index % 9 === 6 ? 'failed' : index % 17 === 11 ? 'cancelled' : 'completed'
  const reason = ['timeout', 'error', 'exit'][index % 3] ?? 'error'
  const marks: Mark[] = [
    ...(index % 8 === 3 ? [{ type: 'steered' as const, at: start + (to - start) * 0.4 }] : []),
    ...(index % 20 === 4 ? [{ type: 'matched' as const, at: start + 4000 }] : []),
    { type: 'noticed', at: to + 300 },
    { type: 'read', at: to + 4000 + (index % 4) * 2500 },
  ]
  return {
    id: `bg_${(0x1a2b3c00 + index * 7919).toString(16)}`,
    kind: agent === 'command' ? 'command' : 'agent',
    description: isRedacted ? '' : description,
    ...(agent !== 'command' && { agent, ...(turns[0]?.model !== undefined && { model: turns[0].model }) }),
    status,
    runs: [{ run: 1, from: launch, to, status, ...(status === 'failed' && { reason }), phases }],
    turns: isUnknown ? [] : turns,
    marks: isUnknown ? [] : marks.map(({ type, at }) => ({ type, at: Math.round(at) })),
    ...(after !== undefined && { after: [after] }),
    usage: {
      tokens: turns.reduce((all, turn) => all + turn.tokens, 0),
      cost: turns.reduce((all, turn) => all + turn.cost, 0),
      toolCalls: turns.reduce((all, turn) => all + turn.tools.length, 0),
    },
    waitingMs: lengthOf('queued', 'permission'),
    workingMs: lengthOf('working'),
    unknown: isUnknown ? ['its steps'] : index % 13 === 12 ? ['its last seconds'] : [],
    ...(!isRedacted && {
      texts: {
        prompt: `${description}.\n\nRead the code first. Answer with a list of files and a sentence for each.`,
        result: `I have looked at ${3 + (index % 9)} files.\n\n- \`src/config.ts\`: reads the options\n- \`src/server.ts\`: starts the server`,
        changes: index % 6 === 5 ? '2 files changed, 31 insertions(+), 4 deletions(-)' : '',
        story: ['launched', 'took a slot', 'read src/config.ts', 'ended'],
      },
    }),
  }
}

/** Some wait for a permission, some are retried by the provider, and of some the last seconds are unknown. */
function phasesOf(index: number, launch: number, start: number, to: number): Phase[] {
  const at = (part: number): number => Math.round(start + (to - start) * part)
  const queued: Phase = { type: 'queued', from: launch, to: start }
  if (index % 10 === 7)
    return [
      queued,
      { type: 'working', from: start, to: at(0.3) },
      { type: 'permission', from: at(0.3), to: at(0.55) },
      { type: 'working', from: at(0.55), to },
    ]
  if (index % 10 === 3)
    return [
      queued,
      { type: 'working', from: start, to: at(0.5) },
      { type: 'retry', from: at(0.5), to: at(0.7) },
      { type: 'working', from: at(0.7), to },
    ]
  if (index % 13 === 12)
    return [queued, { type: 'working', from: start, to: at(0.6) }, { type: 'unknown', from: at(0.6), to }]
  return [queued, { type: 'working', from: start, to }]
}

/** Those that end last have not ended when the session is read. */
function stillRunning(task: TaskTimeline, readAt: number): TaskTimeline {
  const last = task.runs.at(-1)
  if (!last || last.to < readAt - 500) return task
  return {
    ...task,
    status: 'running',
    runs: [{ run: 1, from: last.from, to: readAt, status: 'running', phases: last.phases }],
    marks: task.marks.filter(({ at }) => at < readAt),
  }
}
