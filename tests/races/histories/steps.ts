/** The possible steps of a history, with their weights. */
import fc from 'fast-check'
import type { Opencode } from '../../../src/host/opencode.ts'

/** A few tasks suffice, because faults occur between two or three. */
export const TASKS = 5
export const PARENTS = 2

export type Step =
  /** `calls`: the tool calls of its budget. `after`: the task that it waits for, by its number. */
  | {
      readonly type: 'launch'
      readonly parent: number
      readonly model: string | undefined
      readonly calls?: number | undefined
      readonly after?: number | undefined
    }
  /** Continues it with a budget of one more tool call. */
  | { readonly type: 'afford'; readonly task: number }
  /** `fail`: its turn fails. `occupy`: its turn runs until it is aborted. */
  | { readonly type: 'write'; readonly parent: number; readonly what: 'say' | 'fail' | 'occupy' }
  /** `times`: a monitored command prints lines, and `ms` milliseconds pass. The first time launches it instead. */
  | {
      readonly type: 'print'
      readonly monitor: number
      readonly lines: number
      readonly matches: boolean
      readonly ms: number
      readonly times: number
    }
  | { readonly type: 'exit'; readonly monitor: number; readonly code: number }
  /** `times`: the process crashes, and the user writes in a parent some seconds before what comes next. */
  | { readonly type: 'comeBack'; readonly parent: number; readonly times: number }
  | {
      readonly type: 'cancelAll' | 'interrupt' | 'undo' | 'redo' | 'archive' | 'unarchive' | 'deleteParent'
      readonly parent: number
    }
  | {
      readonly type: 'answer'
      readonly task: number
      readonly how: 'text' | 'asks' | 'bad' | 'busy' | 'tool' | 'empty'
    }
  | {
      readonly type: 'continue' | 'cancel' | 'read' | 'block' | 'typeInChild' | 'abortChild' | 'deleteChild'
      readonly task: number
    }
  | { readonly type: 'permit'; readonly reply: 'once' | 'reject' }
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'crash' | 'deaf' | 'swallow' }
  /** The host ends the instance `ms` milliseconds after it has aborted the running sessions. */
  | { readonly type: 'restart'; readonly ms: number }
  | { readonly type: 'fault'; readonly fault: 'fail' | 'hang' | 'lose'; readonly method: keyof Opencode }
  /** Each of the next `count` events arrives once per entry of `delays`, so many milliseconds later. */
  | { readonly type: 'events'; readonly count: number; readonly delays: readonly number[] }

const task = fc.nat(TASKS - 1)
const parent = fc.nat(PARENTS - 1)
/** Each is a command of the parent with its number. */
const monitor = parent
const just = <const Type extends string>(...types: Type[]): fc.Arbitrary<Type> => fc.constantFrom(...types)

/** Most calls of the host are prompts and reads; the others fail too. */
const METHODS: readonly (keyof Opencode)[] = [
  'prompt',
  'prompt',
  'messages',
  'statuses',
  'session',
  'abort',
  'replaceMetadata',
  'createSession',
  'children',
  'permissions',
  'rejectPermission',
]

const weighted: { readonly weight: number; readonly arbitrary: fc.Arbitrary<Step> }[] = [
  {
    weight: 8,
    arbitrary: fc.record({
      type: just('launch'),
      parent,
      model: fc.constantFrom(undefined, 'mock/m2'),
      calls: fc.constantFrom(undefined, undefined, 1, 2, 5),
      after: fc.constantFrom(undefined, undefined, 0, 1, 2, 3),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: just('answer'),
      task,
      how: just('text', 'text', 'text', 'asks', 'bad', 'busy', 'tool', 'tool', 'empty'),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      type: just('continue', 'continue', 'cancel', 'read', 'block', 'typeInChild', 'abortChild'),
      task,
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: just('afford'), task }) },
  { weight: 1, arbitrary: fc.record({ type: just('deleteChild'), task }) },
  { weight: 16, arbitrary: fc.record({ type: just('wait'), ms: fc.constantFrom(1, 3, 9, 40, 120, 3000) }) },
  {
    weight: 5,
    arbitrary: fc.record({ type: just('write'), parent, what: just('say', 'fail', 'occupy', 'occupy') }),
  },
  {
    weight: 9,
    arbitrary: fc.record({
      type: just('interrupt', 'interrupt', 'undo', 'undo', 'redo', 'archive', 'unarchive', 'cancelAll'),
      parent,
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: just('deleteParent'), parent }) },
  {
    weight: 8,
    arbitrary: fc.record({
      type: just('print'),
      monitor,
      lines: fc.constantFrom(1, 1, 3, 12),
      matches: fc.constantFrom(true, true, true, false),
      // The output is read every 250 ms.
      ms: fc.constantFrom(0, 260, 260, 1100),
      times: fc.constantFrom(1, 1, 4),
    }),
  },
  {
    // Enough for all notices that a command may have, each of which takes up to two seconds to be read.
    weight: 1,
    arbitrary: fc.record({
      type: just('print'),
      monitor,
      lines: fc.constantFrom(1, 3),
      matches: fc.constant(true),
      ms: fc.constant(1100),
      times: fc.constant(60),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: just('exit'), monitor, code: fc.constantFrom(0, 1) }) },
  { weight: 2, arbitrary: fc.record({ type: just('permit'), reply: just('once', 'reject') }) },
  { weight: 2, arbitrary: fc.record({ type: just('crash') }) },
  { weight: 3, arbitrary: fc.record({ type: just('comeBack'), parent, times: fc.constantFrom(1, 1, 2, 4) }) },
  { weight: 2, arbitrary: fc.record({ type: just('restart'), ms: fc.constantFrom(0, 3, 60) }) },
  { weight: 2, arbitrary: fc.record({ type: just('deaf', 'swallow') }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: just('fault'),
      fault: just('fail', 'hang', 'lose'),
      method: fc.constantFrom(...METHODS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: just('events'),
      count: fc.integer({ min: 1, max: 12 }),
      delays: fc.constantFrom([], [0, 0], [0, 20], [4], [25]),
    }),
  },
]

const generated = fc.record({
  steps: fc.array(fc.oneof(...weighted), { minLength: 3, maxLength: 30 }),
  /** Milliseconds that calls and answers take, in turn. */
  latencies: fc.array(fc.constantFrom(0, 0, 1, 5, 12, 30), { minLength: 1, maxLength: 7 }),
  wake: just('each', 'each', 'all', 'never'),
  onInterrupt: just('keep', 'keep', 'cancel'),
  timeoutMs: fc.constantFrom(0, 0, 2000),
  permissionTimeoutMs: fc.constantFrom(0, 1000),
  /** The tool calls that all tasks of a session may make; no history reaches 1000. */
  sessionCalls: fc.constantFrom(1000, 1000, 1000, 1, 3),
  afterRestart: just('tell', 'continue'),
  /** Whether the user redoes undone messages before they write at the end. */
  redoes: fc.boolean(),
})

type Generated = typeof generated extends fc.Arbitrary<infer Value> ? Value : never

/** What was added later: older histories lack it. */
type Added = 'sessionCalls' | 'afterRestart'

export type History = Omit<Generated, Added> & Partial<Pick<Generated, Added>>

export const history: fc.Arbitrary<History> = generated
