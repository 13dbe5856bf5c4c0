/** Runs many tasks through the manager over the fake host; throws unless each is reported once. */
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BackgroundManager } from '../../src/manager.ts'
import type {
  Client,
  Event,
  Message,
  Opencode,
  Part,
  Statuses,
  StoredMessage,
} from '../../src/host/opencode.ts'
import { isEnded } from '../../src/task/task.ts'
import { FakeHost } from './fake-host.ts'
import { pause } from './fake-run.ts'
import { ManualClock, OwnClock } from './manual-clock.ts'

export interface ScaleOptions {
  /** The number of parent sessions. */
  readonly parents: number
  /** The limit of children at work. */
  readonly total: number
}

export interface Scale {
  /**
   * Launches `count` tasks at once; resolves when all are reported, with the host calls beside the poll, and
   * the peak of running children. Throws unless each task was reported once.
   */
  run(count: number): Promise<{ readonly told: number; readonly calls: number; readonly peak: number }>
  /** Launches `count` tasks that never end. */
  hold(count: number): Promise<void>
  /** Has each held task make `steps` model calls, each with a text and a tool call; returns the tool calls that its task shows. */
  work(steps: number): Promise<readonly number[]>
  /** Resolves with the number of sessions that are looked up in the answer to the next status poll. */
  looksOfNextPoll(): Promise<number>
  /** Resolves with the bytes that the manager holds, which is unusable afterwards. */
  release(): Promise<number>
}

const POLL_MS = 5000
const CHILD_MS = 1000
/** 3 KB: the length of a thorough model's prompt for a subagent. */
const PROMPT = 'Please look at this part of the project with care. '.repeat(60)
/** The size of what a tool call is asked and answers. */
const OUTPUT_BYTES = 2000
const STEP_TEXT = 'I look at the next part of it.'
const RESULT = 'It is as it should be, as far as could be seen here. '.repeat(20)

export function createFakeScale({ parents, total }: ScaleOptions): Scale {
  const clock = new ManualClock()
  let running = 0
  let peak = 0
  let looks = 0
  const host = new FakeHost(clock, async ({ parentSessionID, messages }) => {
    if (parentSessionID === undefined) return { text: 'Noted.' }
    running += 1
    peak = Math.max(peak, running)
    const name = messages.at(-1)?.content.split(' ')[0] ?? ''
    if (name.startsWith('held')) await new Promise(() => {})
    await pause(clock, CHILD_MS)
    running -= 1
    return { text: `RESULT ${name}: ${RESULT}` }
  })
  const opencode: Opencode = {
    ...host.opencode,
    statuses: async () => new Proxy(await host.opencode.statuses(), counting),
  }
  const counting: ProxyHandler<Statuses> = {
    has: (target, key) => {
      looks += 1
      return Reflect.has(target, key)
    },
  }
  const ownClock = new OwnClock(clock)
  const self = { name: 'test', directory: '/project', host: 'test', pid: 1, process: '1' }
  let manager: BackgroundManager | undefined = new BackgroundManager(
    {
      client: {} as Client,
      directory: '/project',
      options: { concurrency: { total }, maxTasksPerSession: 1_000_000, pollMs: POLL_MS },
    },
    {
      opencode,
      clock: ownClock,
      log: { debug: () => {}, warn: () => {} },
      owners: { self, isGone: () => false },
      isRun: true,
      machine: { root: '/nonexistent', shell: '/nonexistent', env: {}, onTermination: () => () => {} },
    },
  )
  host.onEvent((event) => void manager?.hooks().event({ event }))
  const parentIDs = Array.from({ length: parents }, () => host.createRootSession().id)
  let laps = 0

  const launch = async (names: readonly string[]): Promise<void> => {
    const own = manager
    if (!own) throw new Error('The manager was released')
    const tasks = names.map((name, index) =>
      own.launch({
        parentID: parentIDs[index % parents] ?? '',
        agent: 'general',
        prompt: `${name} ${PROMPT}`,
        description: name,
      }),
    )
    await Promise.all(tasks)
  }

  const told = (): Map<string, number> => {
    const texts = parentIDs
      .flatMap((id) => host.messagesOf(id))
      .flatMap(({ parts }) => parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])))
    const counts = new Map<string, number>()
    for (const text of texts)
      for (const [, name = ''] of text.matchAll(/RESULT (\S+):/g))
        counts.set(name, (counts.get(name) ?? 0) + 1)
    return counts
  }

  return {
    async run(count) {
      const lap = laps++
      peak = running
      const before = host.calls.length
      const names = Array.from({ length: count }, (_, index) => `task-${lap}-${index}`)
      await launch(names)
      // A round for each slot, and time for the last notices.
      await clock.advance((Math.ceil(count / total) + 4) * (CHILD_MS + 500) + 2 * POLL_MS)
      const counts = told()
      const wrong = names.filter((name) => counts.get(name) !== 1)
      if (wrong.length > 0) throw new Error(`${wrong.length} of ${count} were not told once: ${wrong[0]}`)
      const polls = host.calls.slice(before).filter(({ method }) => method === 'statuses').length
      return { told: names.length, calls: host.calls.length - before - polls, peak }
    },
    async hold(count) {
      await launch(Array.from({ length: count }, (_, index) => `held-${index}`))
      await clock.advance(100)
    },
    async work(steps) {
      const own = manager
      if (!own) throw new Error('The manager was released')
      const held = parentIDs.flatMap((id) => own.list(id)).filter((task) => !isEnded(task))
      for (const { sessionID } of held)
        for (const event of eventsOf(host.messagesOf(sessionID), steps)) void own.hooks().event({ event })
      return Promise.all(
        held.map(async ({ id }) => (await own.output(id)).transcript?.usage.toolCalls ?? Number.NaN),
      )
    },
    async looksOfNextPoll() {
      looks = 0
      await clock.advance(POLL_MS)
      return looks
    },
    async release() {
      // The runs of the host end before the measurement, and what they held with them.
      host.endInstance()
      await clock.settle()
      const before = await usedHeap()
      // The host holds the manager only through its hooks, and the clock through timers.
      manager = undefined
      ownClock.stop()
      await clock.advance(POLL_MS)
      return before - (await usedHeap())
    },
  }
}

/** Returns the events of a run that goes on for `steps` steps; its first one has begun. */
function* eventsOf(stored: readonly StoredMessage[], steps: number): Generator<Event> {
  const begun = stored.at(-1)?.info
  if (begun?.role !== 'assistant') throw new Error('The child has not asked its model')
  const { sessionID } = begun
  for (let step = 0; step < steps; step += 1) {
    const number = String(step).padStart(6, '0')
    const id = step === 0 ? begun.id : `msg_z${number}`
    const info = { ...begun, id }
    const own = { sessionID, messageID: id }
    const time = { start: step, end: step + 1 }
    const state = {
      status: 'completed' as const,
      input: { text: `${number} `.repeat(OUTPUT_BYTES / number.length) },
      output: `${number} `.repeat(OUTPUT_BYTES / number.length),
      title: `part ${number}`,
      metadata: {},
      time,
    }
    const tool = { ...own, id: `prt_${number}2`, type: 'tool' as const, callID: number, tool: 'read' }
    const { cost, tokens } = begun
    yield messageEvent(info)
    yield partEvent({ ...own, id: `prt_${number}1`, type: 'text', text: STEP_TEXT, time })
    yield partEvent({ ...tool, state: { ...state, status: 'running' } })
    yield partEvent({ ...tool, state })
    yield partEvent({ ...own, id: `prt_${number}3`, type: 'step-finish', reason: 'tool-calls', cost, tokens })
    yield messageEvent({ ...info, finish: 'tool-calls', time: { created: step, completed: step + 1 } })
  }
}

/** An event is parsed from text, as on its way from the host: it shares no object with another. */
function parsed(event: object): Event {
  return JSON.parse(JSON.stringify(event)) as Event
}

function messageEvent(info: Message): Event {
  return parsed({ id: 'evt', type: 'message.updated', properties: { sessionID: info.sessionID, info } })
}

function partEvent(part: Part): Event {
  const properties = { sessionID: part.sessionID, part, time: 0 }
  return parsed({ id: 'evt', type: 'message.part.updated', properties })
}

/** A collection that frees less than this is the last one. */
const SETTLED_BYTES = 1024

// A compilation in the background holds what its function refers to for as long as it takes.
setFlagsFromString('--no-opt')

let collectGarbage: (() => void) | undefined

/** Collects garbage until no more goes: some objects are let go of in later turns of the event loop. */
async function usedHeap(): Promise<number> {
  if (!collectGarbage) {
    setFlagsFromString('--expose-gc')
    collectGarbage = runInNewContext('gc') as () => void
  }
  let used = Infinity
  for (;;) {
    await setImmediate()
    collectGarbage()
    const now = process.memoryUsage().heapUsed
    if (now > used - SETTLED_BYTES) return now
    used = now
  }
}
