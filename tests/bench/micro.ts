/**
 * Measures the hot paths on Node, without a host: `npm run bench:micro`. Each case checks its own result; its
 * figures are nanoseconds per unit. Then 1000 and 10,000 tasks run through the fake host.
 */
import { Bench } from 'tinybench'
import { parseOptions } from '../../src/config.ts'
import type { Client, Event, Message, Opencode } from '../../src/host/opencode.ts'
import { buildRooms, type Rooms } from '../../src/rooms.ts'
import { Queue } from '../../src/work/queue.ts'
import plugin from '../../src/server.ts'
import { TaskStore } from '../../src/task/store.ts'
import { isEnded } from '../../src/task/task.ts'
import { createFakeStage } from '../harness/fake-stage.ts'
import { ManualClock } from '../harness/manual-clock.ts'
import { pendingTask, USAGE } from '../harness/tasks.ts'
import { createFakeScale } from '../harness/fake-scale.ts'
import { writeResults, type Table } from './results.ts'

const EVENTS = 10_000
const MANY = 10_000
const PARENTS = 100
const SLOTS = 100

interface Case {
  readonly name: string
  /** Number of units in one call of `run`. */
  readonly count: number
  /** Throws if the result is wrong. */
  readonly run: () => void | Promise<void>
}

function must(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`The benchmark's own check failed: ${what}`)
}

function delta(sessionID: string): Event {
  const properties = { sessionID, messageID: 'msg_1', partID: 'prt_1', field: 'text', delta: 'word' }
  return { id: 'evt_1', type: 'message.part.delta', properties }
}

/** Calls the hook as OpenCode does. */
async function notOurs(): Promise<Case> {
  const client = {} as Client
  const hooks = (await plugin.server({ client, directory: '/project' } as never)) as {
    event: (input: { event: object }) => Promise<void>
  }
  let looks = 0
  const looking = {
    get type() {
      looks += 1
      return 'message.part.delta'
    },
    properties: delta('ses_other').properties,
  }
  void hooks.event({ event: looking })
  must(looks > 0, 'the hook looks at what it is given')
  const input = { event: delta('ses_other') }
  return {
    name: 'event hook, not ours',
    count: EVENTS,
    run() {
      let last: unknown
      for (let index = 0; index < EVENTS; index += 1) last = hooks.event(input)
      must(last instanceof Promise, 'the hook answers as the host wants it')
    },
  }
}

async function ourDelta(): Promise<Case> {
  const { clock, manager, launch } = createFakeStage({ stalledAfterMs: 1000 })
  const { id, sessionID } = await launch('stream')
  await clock.advance(100)
  const event = delta(sessionID)
  const hooks = manager.hooks()
  let stalls = 0
  return {
    name: 'event hook, streaming delta of our child',
    count: EVENTS,
    async run() {
      // The events below end the stall.
      await clock.advance(2000)
      if (manager.stalledFor(id) !== undefined) stalls += 1
      must(stalls > 0, 'a silent child is stalled')
      for (let index = 0; index < EVENTS; index += 1) void hooks.event({ event })
      must(manager.stalledFor(id) === undefined, 'the child was heard')
    },
  }
}

function dispatch(): Case {
  return {
    name: 'store dispatch, of a task among 10,000',
    count: 3 * MANY,
    run() {
      const store = new TaskStore()
      let heard = 0
      for (let index = 0; index < MANY; index += 1) store.add(task(index))
      store.subscribe(() => (heard += 1))
      const outcome = { status: 'completed' as const, text: 'done', usage: USAGE }
      for (let index = 0; index < MANY; index += 1) {
        store.dispatch(`bg_${index}`, { type: 'slotTaken', at: 1 })
        store.dispatch(`bg_${index}`, { type: 'prompted', at: 2 })
        store.dispatch(`bg_${index}`, { type: 'ended', at: 3, outcome })
      }
      must(heard === 3 * MANY, 'each event took effect')
      must([...store.all()].every(isEnded), 'all have ended')
    },
  }
}

/** Owes notices to parents that may not be woken, and delivers them with the user's next message in each. */
function owed(): Case {
  return {
    name: 'outbox, one of 10,000 owed notices: owed, sent along, settled',
    count: MANY,
    run() {
      const rooms = roomsWithoutHost()
      const { store, parents } = rooms
      for (let index = 0; index < MANY; index += 1) end(rooms, index)
      let parts = 0
      for (let parent = 0; parent < PARENTS; parent += 1) {
        const parentID = `ses_parent_${parent}`
        const messageID = `msg_user_${parent}`
        const { outbox } = parents.of(parentID)
        parts += outbox.piggyback(messageID).length
        outbox.observeMessage(
          message({ id: messageID, sessionID: parentID, role: 'user', time: { created: 10 } }),
        )
        const time = { created: 11, completed: 12 }
        const answer = { id: `${messageID}_answer`, sessionID: parentID, parentID: messageID, time }
        outbox.observeMessage(message({ ...answer, role: 'assistant' }))
        must(outbox.owes() === 'nothing', 'it is told')
        must(outbox.piggyback('msg_next').length === 0, 'it is told once')
      }
      // Each message has a closing part.
      must(parts === MANY + PARENTS, 'each notice is told')
      must([...store.all()].length === MANY, 'all are known')
      parents.dispose()
    },
  }
}

function queued(): Case {
  return {
    name: 'scheduler, one of 10,000 queued tasks: queued, started, ended',
    count: MANY,
    async run() {
      const queue = new Queue({ total: SLOTS, providers: {}, models: {} })
      let running = 0
      let peak = 0
      let left = MANY
      await new Promise<void>((resolve) => {
        for (let index = 0; index < MANY; index += 1) {
          queue.add({ id: `bg_${index}`, parentID: `ses_${index % PARENTS}` }, async () => {
            running += 1
            peak = Math.max(peak, running)
            await Promise.resolve()
            running -= 1
            left -= 1
            if (left === 0) resolve()
          })
        }
      })
      must(peak === SLOTS, 'as many run as may')
    },
  }
}

function message(info: object): Message {
  return info as Message
}

function task(index: number): ReturnType<typeof pendingTask> {
  const parentID = `ses_parent_${index % PARENTS}`
  return pendingTask({ id: `bg_${index}`, sessionID: `ses_child_${index}`, parentID })
}

function end({ store }: Rooms, index: number): void {
  const id = `bg_${index}`
  store.add(task(index))
  store.dispatch(id, { type: 'slotTaken', at: 1 })
  const outcome = { status: 'completed' as const, text: 'The result.', usage: USAGE }
  store.dispatch(id, { type: 'ended', at: 2, outcome })
}

function roomsWithoutHost(): Rooms {
  const nothing = (): Promise<undefined> => Promise.resolve(undefined)
  const opencode = new Proxy({}, { get: () => nothing }) as Opencode
  const self = { name: 'bench', directory: '/project', host: 'bench', pid: 1, process: '1' }
  return buildRooms(
    {
      opencode,
      clock: new ManualClock(),
      log: { debug: () => {}, warn: () => {} },
      owners: { self, isGone: () => false },
      isRun: true,
      machine: { root: '/nonexistent', shell: '/nonexistent', env: {}, onTermination: () => () => {} },
    },
    parseOptions({ notify: { wake: 'never' } }).options,
  )
}

const cases = [await notOurs(), await ourDelta(), dispatch(), owed(), queued()]
const bench = new Bench({ time: 2000, warmupTime: 500, throws: true })
for (const { name, run } of cases) bench.add(name, run)
await bench.run()

const rows = cases.map(({ name, count }) => {
  const { samples } = bench.getTask(name)?.result ?? { samples: [] }
  const sorted = samples.map((ms) => (ms / count) * 1e6).toSorted((a, b) => a - b)
  const at = (share: number): number =>
    Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN)
  return { what: name, 'ns (p50)': at(0.5), 'ns (p99)': at(0.99), samples: sorted.length }
})
const scale: Table['rows'][number][] = []
for (const tasks of [1000, MANY]) {
  const through = createFakeScale({ parents: 10, total: SLOTS })
  const before = process.cpuUsage()
  const { calls } = await through.run(tasks)
  const { user, system } = process.cpuUsage(before)
  scale.push({
    tasks,
    'CPU, ms, the fake host included': Math.round((user + system) / 1000),
    'calls of OpenCode for a task': calls / tasks,
    'bytes that an ended task leaves': Math.round((await through.release()) / tasks),
  })
}

const tables = [
  { title: 'Nanoseconds for one', rows },
  { title: `Tasks of 10 sessions through the fake host, ${SLOTS} at once`, rows: scale },
]
console.log(writeResults('micro', { title: 'Micro benchmarks', tables }))
