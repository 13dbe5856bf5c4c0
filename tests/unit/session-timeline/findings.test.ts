import { expect, test } from 'vitest'
import { findingsOf, type Observations } from '../../../src/session-timeline/findings.ts'
import type { PhaseType, TaskTimeline } from '../../../src/session-timeline/session-timeline.ts'

/** A completed task, with phases of these lengths in milliseconds. */
function task(id: string, phases: Partial<Record<PhaseType, number>>, changes: object = {}): TaskTimeline {
  let from = 0
  const list = Object.entries(phases).map(([type, ms]) => {
    const phase = { type: type as PhaseType, from, to: from + ms }
    from += ms
    return phase
  })
  return {
    id,
    kind: 'agent',
    description: `the work of ${id}`,
    status: 'completed',
    runs: [{ run: 1, from: 0, to: from, status: 'completed', phases: list }],
    turns: [],
    marks: [],
    usage: { toolCalls: 0, tokens: 0, cost: 0 },
    waitingMs: 0,
    workingMs: 0,
    unknown: [],
    ...changes,
  }
}

const NOTHING: Observations = { filesRead: new Map(), unread: 0 }

test('long waits for a slot name the limit that was configured', () => {
  const tasks = ['a', 'b', 'c'].map((id) => task(id, { queued: 40_000, working: 60_000 }))
  expect(findingsOf({ tasks, limits: { total: 2 } }, NOTHING, false)).toEqual([
    '3 tasks waited 40 % of their time for a slot: `concurrency.total` is 2.',
  ])
  expect(findingsOf({ tasks: tasks.slice(0, 1) }, NOTHING, false)).toEqual([
    '1 task waited 40 % of its time to start.',
  ])
})

test('a wait for other tasks is none for a slot', () => {
  const first = task('first', { working: 50_000 })
  const follower = task('follower', { queued: 50_000, working: 50_000 }, { after: ['first'] })
  expect(findingsOf({ tasks: [first, follower] }, NOTHING, false)).toEqual([])
  const late = task('late', { queued: 80_000, working: 20_000 }, { after: ['first'] })
  for (const kind of ['agent', 'command'] as const)
    expect(findingsOf({ tasks: [{ ...first, kind }, late] }, NOTHING, false)).toEqual([
      '1 task waited 30 % of its time to start.',
    ])
})

test('a task that was never released, or waited for a task that is not known, has not waited for a slot', () => {
  const failed = [{ run: 1, from: 0, to: 10, status: 'failed', reason: 'error', phases: [] }]
  const first = task('first', {}, { status: 'failed', runs: failed })
  const never = task('never', { queued: 50_000 }, { after: ['first'] })
  const strange = task('strange', { queued: 50_000 }, { after: ['bg_gone'] })
  expect(findingsOf({ tasks: [first, never, strange] }, NOTHING, false)).toEqual([
    '1 of 3 tasks failed: 1 error.',
  ])
})

test('a limit that the tasks did not reach is not named: that of a model may have been the reason', () => {
  const tasks = ['a', 'b', 'c'].map((id) => task(id, { queued: 40_000, working: 60_000 }))
  expect(findingsOf({ tasks, limits: { total: 4 } }, NOTHING, false)).toEqual([
    '3 tasks waited 40 % of their time to start.',
  ])
})

test('a share is of the known time alone', () => {
  const tasks = [task('a', { unknown: 900_000, queued: 40_000, working: 60_000 })]
  expect(findingsOf({ tasks }, NOTHING, false)).toEqual(['1 task waited 40 % of its time to start.'])
})

test('short waits are no finding', () => {
  const tasks = [task('a', { queued: 4000, working: 100 }), task('b', { queued: 19_000, working: 81_000 })]
  expect(findingsOf({ tasks }, NOTHING, false)).toEqual([])
})

test('a file that several agents have read often is named, unless the page is redacted', () => {
  const tasks = ['a', 'b'].map((id) => task(id, { working: 1 }))
  const filesRead = new Map([
    ['/src/task.ts', ['a', 'a', 'b', 'a', 'b']],
    ['/src/one.ts', ['a', 'a', 'a', 'a', 'a']],
    ['/src/few.ts', ['a', 'b']],
  ])
  const finding = 'The same file was read 5 times by 2 agents'
  expect(findingsOf({ tasks }, { ...NOTHING, filesRead }, false)).toEqual([`${finding}: /src/task.ts.`])
  expect(findingsOf({ tasks }, { ...NOTHING, filesRead }, true)).toEqual([`${finding}.`])
})

test('a long path is cut at its beginning, because its end tells the file', () => {
  const path = `/${'folder/'.repeat(40)}task.ts`
  const filesRead = new Map([[path, ['a', 'a', 'b', 'a', 'b']]])
  const [finding = ''] = findingsOf({ tasks: [] }, { ...NOTHING, filesRead }, false)
  expect(finding).toMatch(/by 2 agents: ….*folder\/task\.ts\.$/)
  expect(finding.length).toBeLessThan(180)
})

test('one task with most of the cost is named', () => {
  const costs = [0.62, 0.2, 0.18]
  const tasks = costs.map((cost, index) =>
    task(`bg_${index}`, { working: 1 }, { usage: { toolCalls: 0, tokens: 0, cost } }),
  )
  expect(findingsOf({ tasks }, NOTHING, false)).toEqual([
    "62 % of the tasks' cost of $1.00 is one task: bg_0 (the work of bg_0).",
  ])
  expect(findingsOf({ tasks }, NOTHING, true)).toEqual([
    "62 % of the tasks' cost of $1.00 is one task: bg_0.",
  ])
})

test('a task has all of the cost only where no other has any', () => {
  const shareWith = (other: number): string | undefined => {
    const tasks = [9.99, other, 0].map((cost, index) =>
      task(`bg_${index}`, { working: 1 }, { usage: { toolCalls: 0, tokens: 0, cost } }),
    )
    return findingsOf({ tasks }, NOTHING, true)[0]?.split(' of ')[0]
  }
  expect(shareWith(0.01)).toBe('99 %')
  expect(shareWith(0)).toBe('100 %')
})

test('failures are counted by their reason', () => {
  const failed = (reason: string): object => ({
    status: 'failed',
    runs: [{ run: 1, from: 0, to: 1, status: 'failed', reason, phases: [] }],
  })
  const tasks = [
    task('a', {}, failed('timeout')),
    task('b', {}, failed('timeout')),
    task('c', {}, failed('error')),
    task('d', {}),
  ]
  expect(findingsOf({ tasks }, NOTHING, false)).toEqual(['3 of 4 tasks failed: 2 timeout, 1 error.'])
})

test('ends that no model has read are counted', () => {
  const findings = (unread: number): string[] => findingsOf({ tasks: [] }, { ...NOTHING, unread }, false)
  expect(findings(0)).toEqual([])
  expect(findings(1)).toEqual(["1 end was not read by the parent's model."])
  expect(findings(2)).toEqual(["2 ends were not read by the parent's model."])
})
