/** Runs many tasks through the manager over the fake host; throws unless each is reported once. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BackgroundManager } from '../../src/manager.ts'
import type { Client, Opencode, Statuses } from '../../src/host/opencode.ts'
import { FakeHost } from './fake-host.ts'
import { pause } from './fake-run.ts'
import { ManualClock } from './manual-clock.ts'

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
  /** Resolves with the number of sessions that are looked up in the answer to the next status poll. */
  looksOfNextPoll(): Promise<number>
  /** Resolves with the bytes that the manager holds, which is unusable afterwards. */
  release(): Promise<number>
}

const POLL_MS = 5000
const CHILD_MS = 1000
/** 3 KB: the length of a thorough model's prompt for a subagent. */
const PROMPT = 'Please look at this part of the project with care. '.repeat(60)
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
  const self = { name: 'test', directory: '/project', host: 'test', pid: 1, process: '1' }
  let manager: BackgroundManager | undefined = new BackgroundManager(
    {
      client: {} as Client,
      directory: '/project',
      options: { concurrency: { total }, maxTasksPerSession: 1_000_000, pollMs: POLL_MS },
    },
    {
      opencode,
      clock,
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
    async looksOfNextPoll() {
      looks = 0
      await clock.advance(POLL_MS)
      return looks
    },
    async release() {
      await clock.settle()
      const before = usedHeap()
      manager = undefined
      // The host holds the manager only through its hooks and listeners.
      host.endInstance()
      await clock.settle()
      return before - usedHeap()
    },
  }
}

let collectGarbage: (() => void) | undefined

function usedHeap(): number {
  if (!collectGarbage) {
    setFlagsFromString('--expose-gc')
    collectGarbage = runInNewContext('gc') as () => void
  }
  collectGarbage()
  return process.memoryUsage().heapUsed
}
