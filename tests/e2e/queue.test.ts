import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import { backgroundTask, startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { concurrency: { total: 2 } } })
})
afterAll(() => stage.close())

test('six launches under a limit of two return at once, run two at a time, and are all reported', async () => {
  const names = ['one', 'two', 'three', 'four', 'five', 'six']
  const held = new Map(names.map((name) => [name, heldReply()]))
  const parent = await stage.parent(({ messages }) => held.get(messages.at(-1)?.content ?? '')?.reply ?? {})
  const ids = await parent.launchInTurn(...names)
  // All six launches have returned, although at most two children can have been prompted.
  expect(new Set(ids).size).toBe(6)
  expect(parent.childRequests.filter(({ outcome }) => outcome === 'answered')).toHaveLength(0)
  for (const [index, name] of names.entries()) {
    const working = Math.min(names.length, index + 2)
    await stage.model.waitForRequest(() => parent.childRequests.length === working)
    held.get(name)?.release({ text: `result of ${name}` })
  }
  for (const name of names) await parent.waitForNotice(`result of ${name}`)
  await parent.quiet()
  expect(parent.childRequests).toHaveLength(6)
  expect(Math.max(...overlaps(parent.childRequests))).toBe(2)
  for (const name of names) expect(parent.noticeText.split(`result of ${name}<`)).toHaveLength(2)
  // They start in the order in which they were launched.
  expect(parent.childRequests.slice(2).map(({ messages }) => messages.at(-1)?.content)).toEqual(
    names.slice(2),
  )
})

test('the answer to a launch and the list show the place of a queued task', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply)
  const answers: string[] = []
  for (const name of ['a', 'b', 'c', 'd']) answers.push(...(await parent.call([backgroundTask(name)])))
  const statuses = answers.map((answer) => /status: (.*)/.exec(answer)?.[1])
  expect(statuses).toEqual([
    'running',
    'running',
    'pending (number 1 in the queue)',
    'pending (number 2 in the queue)',
  ])
  const [list] = await parent.call([{ name: 'list_background', args: { status: 'running' } }])
  expect(list).toContain('(4 total)')
  expect(list?.match(/⏳ running/g)).toHaveLength(2)
  expect(list).toContain('⏳ pending, number 2 in the queue')
  release({ text: 'done' })
  for (const id of answers.map((answer) => /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer))
    await parent.waitForNotice(id)
  await parent.quiet()
})

function overlaps(requests: readonly { readonly at: number; readonly endedAt?: number }[]): number[] {
  return requests.map(
    ({ at }) => requests.filter((other) => other.at <= at && (other.endedAt ?? at) > at).length,
  )
}
