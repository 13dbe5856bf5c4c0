/**
 * Runs many short tasks through one real server: parents launch several at a time, and continue while their tasks wait
 * in the queue. The tasks are ours, or OpenCode's own background tasks, which have no queue: there a parent launches
 * more only after the ends of its tasks were reported, so that no more children are at work than under our limit.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startModel, type LoggedRequest, type ScriptedModel } from './model.ts'
import type { ModelRequest, Reply, ToolCall } from './script.ts'
import { startOpencode, type OpencodeOptions, type OpencodeServer, type StoredMessage } from './server.ts'

/** The plugin's background tasks, or OpenCode's. */
export type Kind = 'ours' | 'native'

/** The limit of children at work. */
export const LIMIT = 20

export interface SoakOptions {
  /** The absolute path of our plugin's bundle; without it the tasks are OpenCode's own. */
  readonly plugin?: string
  /** Keys of `opencode.json`. */
  readonly config?: NonNullable<OpencodeOptions['config']>
  /** More plugins. */
  readonly others?: NonNullable<OpencodeOptions['plugins']>
}

export interface Soak {
  readonly server: OpencodeServer
  /** Launches `count` tasks from new parents; resolves when all ends are reported, and the parents idle. */
  run(count: number): Promise<Lap>
  close(): Promise<void>
}

/** The outcome of one `run`. */
export interface Lap {
  /** The number of tasks that were reported to their parent's model. */
  readonly told: number
  /** Violations, one sentence each. */
  readonly faults: readonly string[]
  /** The peak of concurrent model calls of children. */
  readonly peak: number
  /** The number of parents' model requests that notices caused. */
  readonly turns: number
  /** The durations of the launches in milliseconds, in the order of their beginnings. */
  readonly launches: readonly number[]
}

const PARENTS = 4
/** The tasks that a parent launches in one step; those of all parents together fill the limit. */
const CALLS = LIMIT / PARENTS
/** Long enough that all slots are in use, although the host needs some time for each child. */
const CHILD_MS = 2000
const TOLD_WITHIN_MS = 600_000
/** One kilobyte; `RESULT` has half of that. */
const PROMPT = 'Please look at this part of the project with care. '.repeat(20)
const RESULT = 'It is as it should be, as far as could be seen here. '.repeat(10)

/** Builds a call that launches an agent in the background. */
export function launchCall(kind: Kind, description: string, prompt = description): ToolCall {
  return kind === 'ours'
    ? { name: 'background_task', args: { description, prompt, agent: 'general' } }
    : { name: 'task', args: { description, prompt, subagent_type: 'general', background: true } }
}

export async function startSoak({ plugin, config = {}, others = [] }: SoakOptions): Promise<Soak> {
  const kind = plugin === undefined ? 'native' : 'ours'
  const model = await startModel()
  const options = { concurrency: { total: LIMIT }, maxTasksPerSession: 100_000 }
  const server = await startOpencode({
    model,
    config,
    plugins: [...others, ...(plugin === undefined ? [] : [[plugin, options] as const])],
    env: { OPENCODE_EXPERIMENTAL_BACKGROUND_SUBAGENTS: 'true' },
  })
  let laps = 0
  return {
    server,
    async run(count) {
      const lap = laps++
      model.script = scriptOf(kind, count)
      const plans = Array.from({ length: PARENTS }, (_, parent) => {
        const own = Math.floor((count + parent) / PARENTS)
        return Array.from({ length: own }, (_each, index) => `task-${lap}-${parent}-${index}`)
      })
      const parents = await Promise.all(plans.map((names) => drive(server, model, kind, names)))
      return examine(server, model, kind, parents)
    },
    async close() {
      await server.stop()
      await model.close()
    },
  }
}

interface DrivenParent {
  readonly id: string
  readonly names: readonly string[]
}

/** Launches the tasks; resolves when all ends are reported, and the parent is idle. */
async function drive(
  server: OpencodeServer,
  model: ScriptedModel,
  kind: Kind,
  names: readonly string[],
): Promise<DrivenParent> {
  const { id } = await server.createSession({ title: kind })
  for (let from = 0; from < names.length; from += CALLS) {
    const batch = names.slice(from, from + CALLS)
    const soFar = from + batch.length
    await server.prompt(id, `LAUNCH ${batch.join(' ')} END`)
    const counted = kind === 'native' || soFar === names.length ? told : answered
    await model.waitForRequest((request) => request.sessionID === id && counted(request).length >= soFar, {
      timeoutMs: TOLD_WITHIN_MS,
      description: `${soFar} tasks of ${id}`,
    })
  }
  await server.waitForIdle(id, { timeoutMs: TOLD_WITHIN_MS })
  return { id, names }
}

/**
 * Builds a script that holds the first children until all slots are in use and more children wait: from then
 * on, a child that starts without waiting for an end is a violation that shows.
 */
function scriptOf(kind: Kind, count: number): (request: ModelRequest) => Promise<Reply> {
  const launched = new Set<string>()
  /** The number of answered launches of each parent. */
  const answers = new Map<string, number>()
  const queued = Math.min(count, kind === 'ours' ? 2 * LIMIT : LIMIT)
  let come = 0
  let open = (): void => {}
  const full = new Promise<void>((resolve) => {
    open = resolve
  })
  const openWhenFull = (): void => {
    const launches = [...answers.values()].reduce((sum, each) => sum + each, 0)
    if (come >= Math.min(count, LIMIT) && launches >= queued) open()
  }
  return async ({ sessionID, parentSessionID, messages }) => {
    if (parentSessionID !== undefined) {
      come += 1
      openWhenFull()
      await full
      await sleep(CHILD_MS)
      return { text: `RESULT ${nameIn(messages)}: ${RESULT}` }
    }
    answers.set(sessionID, answered({ messages }).length)
    openWhenFull()
    // A notice may follow the user's message in the same step.
    const asked = messages.findLast(({ role, content }) => role === 'user' && content.startsWith('LAUNCH'))
    const names = /^LAUNCH (.*) END/.exec(asked?.content ?? '')?.[1] ?? ''
    const key = `${sessionID} ${names}`
    if (launched.has(key)) return { text: 'Noted.' }
    launched.add(key)
    return { tools: names.split(' ').map((name) => launchCall(kind, name, `${name} ${PROMPT}`)) }
  }
}

/** Returns the name of a child's task. */
function nameIn(messages: LoggedRequest['messages']): string {
  return messages.at(-1)?.content.split(' ')[0] ?? ''
}

type Messages = Pick<LoggedRequest, 'messages'>

/** Returns the tool results in a request. */
function answered({ messages }: Messages): string[] {
  return messages.flatMap(({ role, content }) => (role === 'tool' ? [content] : []))
}

/** Returns the names of the tasks whose results are in a request, once for each result. */
function told({ messages }: Messages): string[] {
  return messages.flatMap(({ role, content }) => (role === 'user' ? resultsIn(content) : []))
}

function resultsIn(text: string): string[] {
  return Array.from(text.matchAll(/RESULT (\S+):/g), ([, name = '']) => name)
}

async function examine(
  server: OpencodeServer,
  model: ScriptedModel,
  kind: Kind,
  parents: readonly DrivenParent[],
): Promise<Lap> {
  const laps = await Promise.all(parents.map((parent) => examineOne(server, model, kind, parent)))
  const ids = new Set(parents.map(({ id }) => id))
  const peak = mostAtOnce(model.requests.filter(({ parentSessionID = '' }) => ids.has(parentSessionID)))
  const complaints = (await server.log()).match(/^.*level=(?:WARN|ERROR).*opencode-background: .*$/gm) ?? []
  const sum = (figure: (lap: (typeof laps)[number]) => number): number =>
    laps.reduce((total, lap) => total + figure(lap), 0)
  return {
    told: sum((lap) => lap.told),
    faults: [
      ...laps.flatMap(({ faults }) => faults),
      ...(peak > LIMIT ? [`${peak} model calls of children were open at once`] : []),
      ...complaints,
    ],
    peak,
    turns: sum((lap) => lap.turns),
    launches: laps
      .flatMap(({ launches }) => launches)
      .toSorted((a, b) => a.start - b.start)
      .map(({ start, end }) => end - start),
  }
}

async function examineOne(
  server: OpencodeServer,
  model: ScriptedModel,
  kind: Kind,
  { id, names }: DrivenParent,
): Promise<Pick<Lap, 'told' | 'faults' | 'turns'> & { readonly launches: readonly Span[] }> {
  const requests = model.requestsOf(id)
  const stored = await server.messages(id)
  const inHistory = stored.flatMap(({ info, parts }) =>
    info.role === 'user' ? parts.flatMap((part) => (part.type === 'text' ? resultsIn(part.text) : [])) : [],
  )
  const begun = model.requests.flatMap(({ parentSessionID, messages }) =>
    parentSessionID === id ? [nameIn(messages)] : [],
  )
  const inRequests = requests.flatMap((request) => notOnce(names, told(request)).twice)
  const lastTold = requests.at(-1) ?? { messages: [] }
  const faults = [
    ...Object.entries({ begun, 'told in the last request': told(lastTold), 'told in the history': inHistory })
      .map(([what, found]) => ({ what, ...notOnce(names, found) }))
      .flatMap(({ what, never, twice }) => [
        ...never.map((name) => `${name} was not ${what}`),
        ...twice.map((name) => `${name} was ${what} more than once`),
      ]),
    ...Array.from(new Set(inRequests), (name) => `${name} was told more than once in a request`),
    ...(kind === 'ours' ? await unfinished(server, id, names.length) : []),
  ]
  return {
    told: new Set(told(lastTold)).size,
    faults,
    // Each step of launches has one request before it, and one with its answers.
    turns: requests.length - 2 * Math.ceil(names.length / CALLS),
    launches: launchesOf(stored),
  }
}

function notOnce(
  names: readonly string[],
  found: readonly string[],
): { readonly never: readonly string[]; readonly twice: readonly string[] } {
  const once = new Set<string>()
  const twice = new Set<string>()
  for (const name of found) (once.has(name) ? twice : once).add(name)
  return { never: names.filter((name) => !once.has(name)), twice: [...twice] }
}

/** Returns the records of a parent's tasks that are not completed, as sentences. */
async function unfinished(server: OpencodeServer, parentID: string, count: number): Promise<string[]> {
  const { data } = await server.client.session.children({ path: { id: parentID }, throwOnError: true })
  const sessions = data as object as { metadata?: { background?: { id: string; status: string } } }[]
  const records = sessions.flatMap(({ metadata }) => metadata?.background ?? [])
  return [
    ...(records.length === count ? [] : [`${parentID} has ${records.length} records for ${count} tasks`]),
    ...records.flatMap(({ id, status }) => (status === 'completed' ? [] : [`${id} is ${status}`])),
  ]
}

function mostAtOnce(requests: readonly Pick<LoggedRequest, 'at' | 'endedAt'>[]): number {
  const changes = requests
    .flatMap(({ at, endedAt = Number.POSITIVE_INFINITY }) => [
      { at, by: 1 },
      { at: endedAt, by: -1 },
    ])
    // Within a millisecond, ends precede beginnings.
    .toSorted((a, b) => a.at - b.at || a.by - b.by)
  let open = 0
  let most = 0
  for (const { by } of changes) {
    open += by
    most = Math.max(most, open)
  }
  return most
}

/** A time span, in milliseconds since the Unix epoch. */
interface Span {
  readonly start: number
  readonly end: number
}

function launchesOf(stored: readonly StoredMessage[]): Span[] {
  return stored.flatMap(({ parts }) =>
    parts.flatMap((part) =>
      part.type === 'tool' && part.state.status === 'completed' ? [part.state.time] : [],
    ),
  )
}
