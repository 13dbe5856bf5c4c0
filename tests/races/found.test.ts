/** Shrunk histories in which `npm run fuzz` has found a fault; each stays as a case. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Where } from './histories/play.ts'
import { wrongAfter } from './histories/property.ts'
import type { History } from './histories/steps.ts'

const PLAIN: Omit<History, 'steps'> = {
  latencies: [0],
  wake: 'each',
  onInterrupt: 'keep',
  timeoutMs: 0,
  permissionTimeoutMs: 0,
  redoes: false,
}

/** `where`: inside of OpenCode if left out. */
const FOUND: Readonly<Record<string, History & { readonly where?: Where }>> = {
  'a task that its parent cancels and continues at once owes no notice of its first run': {
    ...PLAIN,
    steps: [
      { type: 'cancelAll', parent: 0 },
      { type: 'launch', parent: 0, model: undefined },
      { type: 'continue', task: 0 },
    ],
  },
  'a cancelled run owes no notice when the prompt of the next run fails': {
    ...PLAIN,
    steps: [
      { type: 'cancelAll', parent: 0 },
      { type: 'continue', task: 0 },
      { type: 'fault', fault: 'fail', method: 'prompt' },
      { type: 'launch', parent: 0, model: undefined },
      { type: 'wait', ms: 1 },
    ],
  },
  'a parent whose failed turn caused no event gets its notice with the next message at the latest': {
    ...PLAIN,
    steps: [
      { type: 'events', count: 11, delays: [] },
      { type: 'write', parent: 0, what: 'fail' },
      { type: 'interrupt', parent: 1 },
      { type: 'wait', ms: 120 },
      { type: 'events', count: 1, delays: [] },
    ],
  },
  'a notice that was read and undone without events may be sent again': {
    ...PLAIN,
    timeoutMs: 2000,
    steps: [
      { type: 'deaf' },
      { type: 'wait', ms: 3000 },
      { type: 'write', parent: 0, what: 'say' },
      { type: 'launch', parent: 0, model: undefined },
      { type: 'undo', parent: 0 },
      { type: 'permit', reply: 'once' },
    ],
  },
  'a repeated idle event does not count as an interrupt': {
    ...PLAIN,
    steps: [
      { type: 'write', parent: 0, what: 'say' },
      { type: 'wait', ms: 9 },
      { type: 'events', count: 5, delays: [0, 0] },
      { type: 'wait', ms: 1 },
      { type: 'wait', ms: 1 },
      { type: 'answer', task: 0, how: 'text' },
    ],
  },
  'a repeated idle event does not count as an interrupt seconds later, in another parent': {
    ...PLAIN,
    steps: [
      { type: 'write', parent: 1, what: 'say' },
      { type: 'wait', ms: 9 },
      { type: 'events', count: 5, delays: [0, 0] },
      { type: 'wait', ms: 3000 },
      { type: 'write', parent: 0, what: 'say' },
      { type: 'answer', task: 0, how: 'text' },
    ],
  },
  'an instance that ends while it reads the messages of a child sends no more calls': {
    ...PLAIN,
    latencies: [0, 12],
    steps: [
      { type: 'answer', task: 0, how: 'tool' },
      { type: 'permit', reply: 'reject' },
      { type: 'wait', ms: 9 },
      { type: 'restart', ms: 0 },
      { type: 'launch', parent: 0, model: undefined },
      { type: 'continue', task: 0 },
      { type: 'launch', parent: 0, model: undefined },
    ],
  },
  'an instance that ends after the abort of a child sends no more calls when an event arrives late': {
    ...PLAIN,
    latencies: [30, 0],
    steps: [
      { type: 'events', count: 1, delays: [25] },
      { type: 'abortChild', task: 0 },
      { type: 'wait', ms: 3000 },
      { type: 'restart', ms: 0 },
      { type: 'continue', task: 0 },
      { type: 'launch', parent: 0, model: undefined },
    ],
  },
  'notices report both runs of a task that end during a failed read': {
    ...PLAIN,
    latencies: [0, 30, 5],
    steps: [
      { type: 'fault', fault: 'lose', method: 'messages' },
      { type: 'continue', task: 1 },
      { type: 'read', task: 1 },
      { type: 'answer', task: 0, how: 'text' },
      { type: 'write', parent: 0, what: 'say' },
      { type: 'interrupt', parent: 0 },
    ],
  },
  'notices report both runs that end during a failed read, beside a continued queued task': {
    ...PLAIN,
    latencies: [0, 0, 12, 0],
    steps: [
      { type: 'fault', fault: 'lose', method: 'messages' },
      { type: 'launch', parent: 0, model: 'mock/m2' },
      { type: 'continue', task: 1 },
      { type: 'read', task: 1 },
      { type: 'launch', parent: 0, model: undefined },
      { type: 'write', parent: 0, what: 'say' },
      { type: 'continue', task: 0 },
    ],
  },
  "a notice on a user's message that no turn has read is read when its parent leaves the archive": {
    ...PLAIN,
    steps: [
      { type: 'deleteChild', task: 1 },
      { type: 'wait', ms: 120 },
      { type: 'write', parent: 0, what: 'fail' },
      { type: 'wait', ms: 9 },
      { type: 'archive', parent: 0 },
      { type: 'write', parent: 0, what: 'say' },
      { type: 'interrupt', parent: 1 },
      { type: 'continue', task: 1 },
      { type: 'deaf' },
    ],
  },
  'an empty run that is prompted while its messages are read keeps its slot, and works on': {
    ...PLAIN,
    latencies: [0, 5],
    steps: [
      { type: 'continue', task: 0 },
      { type: 'answer', task: 0, how: 'empty' },
      { type: 'wait', ms: 3 },
      { type: 'continue', task: 1 },
      { type: 'wait', ms: 3000 },
    ],
  },
  'a notice that was undone while a tool of its turn ran is told again with the next message': {
    ...PLAIN,
    latencies: [0, 0, 0, 12],
    steps: [
      { type: 'answer', task: 0, how: 'text' },
      { type: 'block', task: 0 },
      { type: 'wait', ms: 40 },
      { type: 'answer', task: 0, how: 'text' },
      { type: 'continue', task: 0 },
      { type: 'undo', parent: 0 },
    ],
  },
  'matching lines that an instance has taken and not sent come after its end as of a running command': {
    ...PLAIN,
    latencies: [30],
    steps: [
      { type: 'print', monitor: 0, lines: 1, matches: true, ms: 260, times: 1 },
      { type: 'print', monitor: 0, lines: 1, matches: true, ms: 1100, times: 4 },
      { type: 'restart', ms: 0 },
      { type: 'write', parent: 0, what: 'say' },
    ],
  },
  'a notice that was undone unread while the event stream was away is sent again, although a later message is answered':
    {
      ...PLAIN,
      where: 'outside',
      steps: [
        { type: 'cancelAll', parent: 0 },
        { type: 'print', monitor: 0, lines: 1, matches: false, ms: 1100, times: 1 },
        { type: 'exit', monitor: 0, code: 0 },
        { type: 'restart', ms: 0 },
        { type: 'undo', parent: 0 },
        { type: 'write', parent: 0, what: 'say' },
      ],
    },
}

beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0.5))
afterEach(() => void vi.restoreAllMocks())

test.each(Object.entries(FOUND))('%s', async (_, { where, ...found }) => {
  expect(await wrongAfter(found, where)).toEqual([])
})
