/**
 * The stage of end-to-end tests: one real OpenCode with our plugin, and parents whose model obeys the user's
 * message. Tests assert on the requests that the scripted model receives.
 */
import { startModel, type LoggedRequest, type ScriptedModel } from './model.ts'
import type { Fault } from './inside/protocol.ts'
import { drivenPlugin } from './plugin.ts'
import { createProject } from './home.ts'
import { lookAfterEachTest } from './left.ts'
import type { ModelRequest, Reply, Script, ToolCall } from './script.ts'
import { isAlive } from './processes.ts'
import {
  startOpencode,
  type OpencodeOptions,
  type OpencodeServer,
  type Project,
  type PromptOptions,
} from './server.ts'
import { WAIT_LIMIT_MS, type WaitOptions } from './spy.ts'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Stage {
  readonly server: OpencodeServer
  readonly model: ScriptedModel
  /**
   * Creates a parent session with the host's fields in `session`; `child` answers for all its children. The
   * default project is the server's own.
   */
  parent(child?: Script, session?: Readonly<Record<string, unknown>>, project?: Project): Promise<Parent>
  /** Returns an existing session as a parent. */
  parentAt(sessionID: string): Parent
  /** Creates another project in the server, with its own options and keys of `opencode.json`. */
  project(settings?: Pick<StageOptions, 'options' | 'config'>): Project
  /** Starts another process in the home, on the server's project. */
  second(): Promise<OpencodeServer>
  /** Resolves when the plugin has handled all events so far. */
  settle(): Promise<void>
  /** Advances the plugin's time by `ms` in a moment; OpenCode's time is unchanged. */
  pass(ms: number): Promise<void>
  /** Advances the plugin's time, a second at a time, until `awaited` resolves. */
  passUntil<Result>(awaited: Promise<Result>): Promise<Result>
  /** Stops the plugin's time during `work`; only `pass` advances it. */
  frozen(work: () => Promise<void>): Promise<void>
  /** Moves the wall clock of the plugin's machine by `ms`, without time passing. OpenCode's stays. */
  setTime(ms: number): Promise<void>
  /** Sets the fault between OpenCode and the plugin from now on. */
  fault(fault: Fault): Promise<void>
  /** Ends OpenCode by a signal, and restarts it in its home; `as`: a command that starts it. */
  restart(signal: NodeJS.Signals, changes?: Pick<OpencodeOptions, 'as'>): Promise<void>
  close(): Promise<void>
}

export interface Parent {
  readonly id: string
  /** The requests of the parent's own model, oldest first. */
  readonly requests: readonly LoggedRequest[]
  /** The requests of its children's model. */
  readonly childRequests: readonly LoggedRequest[]
  /** The requests whose newest message was a notice. */
  readonly noticeTurns: readonly LoggedRequest[]
  /** The texts of all notices in the newest request of its model. */
  readonly noticeText: string
  /** Sends a user message upon which the parent's model makes these calls at once; resolves with their results. */
  call(calls: readonly ToolCall[], options?: PromptOptions): Promise<readonly string[]>
  /** Sends a user message upon which its model makes this call; resolves when the tool is running. */
  begin(call: ToolCall): Promise<BegunCall>
  /**
   * Calls `background_task` for each description, which is the prompt too. Resolves with the task ids. OpenCode runs the
   * calls of one step at once, so that the tasks start in any order.
   */
  launch(...descriptions: readonly string[]): Promise<readonly string[]>
  /** Launches as `launch` does, each task in a step of its own, so that they start in this order. */
  launchInTurn(...descriptions: readonly string[]): Promise<readonly string[]>
  /** Sends a user message; resolves when its turn has ended, and `quietBesidesChildren`. */
  say(text: string, options?: PromptOptions): Promise<void>
  /** Resolves when the parent's model was asked with this text in a notice. */
  waitForNotice(text: string, options?: WaitOptions): Promise<LoggedRequest>
  /** Resolves when all its children, or those with the prompt `asked`, are idle and the plugin has handled that. */
  childrenAreIdle(asked?: string): Promise<void>
  /** Resolves when its session is idle, whether its newest message is answered or not, and the plugin has handled that. */
  idle(): Promise<void>
  /** Resolves when it and its children are idle, and the plugin has sent them nothing for a while. */
  quiet(): Promise<void>
  /** Resolves as `quiet` does, but its children may be at work. */
  quietBesidesChildren(): Promise<void>
}

/** A tool call under way. */
export interface BegunCall {
  /** Resolves with the result of the call. */
  readonly result: () => Promise<string>
}

export interface StageOptions extends Omit<OpencodeOptions, 'model' | 'plugins'> {
  /** The options of our plugin. */
  readonly options?: object
  /** Replace the driven plugin; the plugin's time is then the machine's. */
  readonly plugins?: OpencodeOptions['plugins']
  /** Plugins that OpenCode loads before the driven one. */
  readonly before?: NonNullable<OpencodeOptions['plugins']>
}

const PASSING_MS = 50
const SOON_MS = 300
const STRAYS_MS = 15_000
/** OpenCode may append reminders to a user's text, as for the agent `plan`. */
const CALL = /^CALL (.*) END/s
/** The beginning of a notice; one that a user's message carries is part of that message. */
const NOTICE = '<background_task '
/** Counts the messages with calls. */
let asks = 0
/** Longer than a notice waits for others, and longer than a burst of ends. */
const QUIET_MS = 600

export async function startStage({
  options = {},
  plugins,
  before = [],
  config = {},
  ...rest
}: StageOptions = {}): Promise<Stage> {
  const children = new Map<string, Script>()
  /** Child → parent: the host omits the parent in the request for a child's summary (seen). */
  const parentOfChild = new Map<string, string>()
  const model = await startModel((request) => {
    const { sessionID, parentSessionID } = request
    if (parentSessionID !== undefined) parentOfChild.set(sessionID, parentSessionID)
    const parentID = parentOfChild.get(sessionID)
    if (parentID === undefined) return obey(request)
    return (children.get(parentID) ?? (() => ({ text: 'done' })))(request)
  })
  const driven = plugins ? undefined : await drivenPlugin(options)
  const settings = {
    model,
    // OpenCode's git snapshots of the project at each step would double the CPU of a turn.
    config: { snapshot: false, ...config },
    plugins: plugins ?? (driven ? [...before, driven.spec] : []),
    ...rest,
  }
  let server = await startOpencode(settings)

  async function goOn(type: 'drain' | 'pass', ms: number): Promise<void> {
    await (driven ? driven.control(server.pid, { type, ms }) : sleep(ms))
  }
  const projects: Project[] = []
  const look = async (): Promise<string[]> => {
    // A test may have ended the server itself.
    if (!isAlive(server.pid)) return []
    return (await Promise.all([server, ...projects].map((project) => orphans(project)))).flat()
  }
  const stopLooking = lookAfterEachTest(look)
  const drain = (ms: number): Promise<void> => goOn('drain', ms)
  const pass = (ms: number): Promise<void> => goOn('pass', ms)

  return {
    get server() {
      return server
    },
    model,
    async parent(child, session, project) {
      // OpenCode asks the model for a title when a session has none.
      const { id } = await (project ?? server).createSession({ title: 'A parent', ...session })
      if (child) children.set(id, child)
      return parentOf(id, () => project ?? server, model, drain)
    },
    parentAt: (sessionID) => parentOf(sessionID, () => server, model, drain),
    project({ options: own = {}, config: keys = {} } = {}) {
      const directory = createProject(server.home)
      const entry = driven ? [[driven.spec[0], { ...driven.spec[1], options: own }]] : []
      writeFileSync(join(directory, 'opencode.json'), JSON.stringify({ plugin: entry, ...keys }))
      const project = server.project(directory)
      projects.push(project)
      return project
    },
    settle: () => drain(0),
    pass,
    async passUntil(awaited) {
      const isOver = awaited.then(
        () => true,
        () => true,
      )
      const isSoon = (ms: number): Promise<boolean> => Promise.race([isOver, sleep(ms, false)])
      // Most of what is awaited needs no time of the plugin, and each pass costs the host some requests.
      if (await isSoon(SOON_MS)) return awaited
      do await pass(1000)
      while (!(await isSoon(PASSING_MS)))
      return awaited
    },
    async frozen(work) {
      await driven?.control(server.pid, { type: 'freeze' })
      try {
        await work()
      } finally {
        await driven?.control(server.pid, { type: 'thaw' })
      }
    },
    async setTime(ms) {
      await driven?.control(server.pid, { type: 'setTime', ms })
    },
    async fault(fault) {
      await driven?.control(server.pid, { type: 'fault', fault })
    },
    second: () => startOpencode({ ...settings, home: server.home }),
    async restart(signal, changes = {}) {
      const { home } = server
      // The other projects have the old server's address.
      projects.length = 0
      await server.stop({ signal, keepHome: true })
      server = await startOpencode({ ...settings, ...changes, home })
    },
    async close() {
      stopLooking()
      const left = await look()
      await server.stop()
      await model.close()
      driven?.close()
      if (left.length > 0) throw new Error(`The stage leaves behind:\n  ${left.join('\n  ')}`)
    },
  }
}

/** Returns the children that are still at work after their tasks have ended and some time has passed. */
async function orphans({ client, directory }: Project): Promise<string[]> {
  const deadline = Date.now() + STRAYS_MS
  for (;;) {
    const left: string[] = []
    const { data = {} } = await client.session.status()
    for (const id of Object.keys(data)) {
      const session = await client.session.get({ path: { id } }).catch(() => ({ data: undefined }))
      const { metadata } = (session.data ?? {}) as {
        metadata?: { background?: { status: string; id: string } }
      }
      const { status, id: taskID } = metadata?.background ?? {}
      if (status === 'completed' || status === 'failed' || status === 'cancelled')
        left.push(`the session of ${taskID} at work, which is ${status}, in ${directory}`)
    }
    if (left.length === 0 || Date.now() > deadline) return left
    await sleep(PASSING_MS)
  }
}

/**
 * Makes the calls that the user's message contains; answers `Noted.` to everything else. A notice that was stored after the
 * message, and that the same step answers, changes nothing.
 */
export function obey({ messages }: ModelRequest): Reply {
  const last = messages.findLast((message) => !(isNotice(message) && message.content.startsWith(NOTICE)))
  const calls = last?.role === 'user' ? CALL.exec(last.content)?.[1] : undefined
  return calls === undefined ? { text: 'Noted.' } : { tools: JSON.parse(calls) as ToolCall[] }
}

function parentOf(
  id: string,
  project: () => Project,
  model: ScriptedModel,
  drain: (ms: number) => Promise<void>,
): Parent {
  /** Whether one of these model requests is open, or its session is at work. */
  async function isAtWork(requests: readonly LoggedRequest[]): Promise<boolean> {
    if (requests.some(({ outcome }) => outcome === 'open')) return true
    const { data } = await project().client.session.status({ throwOnError: true })
    return requests.some(({ sessionID }) => sessionID in data)
  }

  /** Whether the session or a child is at work, also a child whose first model request has not come yet. */
  async function isFamilyAtWork(): Promise<boolean> {
    if ([...parent.requests, ...parent.childRequests].some(({ outcome }) => outcome === 'open')) return true
    const { session } = project().client
    const { data } = await session.status({ throwOnError: true })
    if (Object.keys(data).length === 0) return false
    const { data: children } = await session.children({ path: { id }, throwOnError: true })
    return [id, ...children.map((child) => child.id)].some((each) => each in data)
  }

  /** @param children whether they must be idle too */
  async function quiet(children: 'with children' | 'besides children'): Promise<void> {
    const isFamily = children === 'with children'
    const requests = (): number => parent.requests.length + (isFamily ? parent.childRequests.length : 0)
    const deadline = Date.now() + WAIT_LIMIT_MS
    for (;;) {
      if (Date.now() > deadline) throw new Error(`Not quiet within ${WAIT_LIMIT_MS} ms: ${id}`)
      await project().waitForIdle(id)
      const before = requests()
      if (isFamily && (await isFamilyAtWork())) {
        await sleep(PASSING_MS)
        continue
      }
      await drain(QUIET_MS)
      const isBusy = isFamily ? await isFamilyAtWork() : await isAtWork(parent.requests)
      if (!isBusy && requests() === before) return
    }
  }

  /** Sends a user message upon which the model makes these calls; resolves when it is stored, with the wait for their results. */
  async function ask(
    calls: readonly ToolCall[],
    options?: PromptOptions,
  ): Promise<() => Promise<readonly string[]>> {
    // The number tells this message from earlier ones with equal calls.
    const asked = `CALL ${JSON.stringify(calls)} END ${(asks += 1)}.`
    await project().prompt(id, asked, options)
    return async () => {
      const answered = await model.waitForRequest(
        (request) => request.sessionID === id && toolResults(request, asked).length >= calls.length,
        { description: `the results of ${calls.map((call) => call.name).join(', ')}` },
      )
      return toolResults(answered, asked)
    }
  }

  const parent: Parent = {
    id,
    get requests() {
      return model.requestsOf(id)
    },
    get childRequests() {
      return model.requests.filter((request) => request.parentSessionID === id)
    },
    get noticeTurns() {
      return parent.requests.filter((request) => isNotice(request.messages.at(-1)))
    },
    get noticeText() {
      return (parent.requests.at(-1)?.messages ?? [])
        .filter(isNotice)
        .map((message) => message.content)
        .join('\n')
    },
    async call(calls, options) {
      return (await ask(calls, options))()
    },
    async begin(call) {
      const events = await project().subscribe()
      try {
        const results = await ask([call])
        await events.waitFor(
          ({ type, properties }) =>
            type === 'message.part.updated' &&
            properties.part.sessionID === id &&
            properties.part.type === 'tool' &&
            properties.part.state.status === 'running',
          { description: `a call of ${call.name} that runs` },
        )
        return { result: async () => (await results())[0] ?? '' }
      } finally {
        events.close()
      }
    },
    async say(text, options) {
      const before = parent.requests.length
      await project().prompt(id, text, options)
      await model.waitForRequest(() => parent.requests.length > before, {
        description: `a turn on "${text}"`,
      })
      await parent.quietBesidesChildren()
    },
    async launch(...descriptions) {
      const outputs = await parent.call(descriptions.map((description) => backgroundTask(description)))
      return outputs.map((output) => /bg_[0-9a-f]{8}/.exec(output)?.[0] ?? output)
    },
    async launchInTurn(...descriptions) {
      const ids: string[] = []
      for (const description of descriptions) ids.push(...(await parent.launch(description)))
      return ids
    },
    waitForNotice(text, options) {
      return model.waitForRequest(
        (request) =>
          request.sessionID === id &&
          request.messages.some((message) => isNotice(message) && message.content.includes(text)),
        { description: `a notice with "${text}"`, ...options },
      )
    },
    async childrenAreIdle(asked) {
      const isMeant = ({ messages }: LoggedRequest): boolean =>
        asked === undefined || messages.some(({ content }) => content === asked)
      await model.waitForRequest((request) => request.parentSessionID === id && isMeant(request), {
        description: 'a child at work',
      })
      while (await isAtWork(parent.childRequests.filter(isMeant))) await sleep(PASSING_MS)
      await drain(0)
    },
    async idle() {
      do {
        while (await isAtWork(parent.requests)) await sleep(PASSING_MS)
        await drain(0)
      } while (await isAtWork(parent.requests))
    },
    quiet: () => quiet('with children'),
    quietBesidesChildren: () => quiet('besides children'),
  }
  return parent
}

/** Builds a call of `background_task` for the agent `general`. */
export function backgroundTask(description: string, changes: object = {}): ToolCall {
  return { name: 'background_task', args: { description, prompt: description, agent: 'general', ...changes } }
}

/** Returns the results of the tool calls that a user message has asked for; `asked`: its text, which a notice may follow. */
function toolResults({ messages }: ModelRequest, asked: string): readonly string[] {
  const from = messages.findLastIndex(({ role, content }) => role === 'user' && content.startsWith(asked))
  if (from === -1) return []
  // A notice may follow the results in the same step.
  return messages.slice(from).flatMap(({ role, content }) => (role === 'tool' ? [content] : []))
}

function isNotice(message: ModelRequest['messages'][number] | undefined): boolean {
  return message?.role === 'user' && message.content.includes(NOTICE)
}
