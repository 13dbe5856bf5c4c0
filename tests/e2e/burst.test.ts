import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

/** The time a notice waits for others; `SOON_MS` is a little shorter. */
const DEBOUNCE_MS = 200
const SOON_MS = 150
let stage: Stage

beforeAll(async () => {
  stage = await startStage({ options: { notify: { debounceMs: DEBOUNCE_MS } } })
})
afterAll(() => stage.close())

test.each([
  { count: 5, apartMs: SOON_MS },
  { count: 10, apartMs: 0 },
])(
  '$count children that end $apartMs ms apart cost their parent one turn with all their notices',
  async ({ count, apartMs }) => {
    const names = Array.from({ length: count }, (_, index) => `task number ${index}`)
    const held = new Map(names.map((name) => [name, heldReply()]))
    const parent = await stage.parent(({ messages }) => held.get(messages.at(-1)?.content ?? '')?.reply ?? {})
    await parent.launch(...names)
    await parent.quietBesidesChildren()
    // Only the plugin's time counts, so OpenCode's speed is irrelevant.
    await stage.frozen(async () => {
      for (const [name, { release }] of held) {
        release({ text: `result of ${name}` })
        await parent.childrenAreIdle(name)
        await stage.pass(apartMs)
      }
    })
    for (const name of names) await parent.waitForNotice(`result of ${name}`)
    await parent.quiet()
    expect(parent.noticeTurns).toHaveLength(1)
    for (const name of names) expect(parent.noticeText.split(`result of ${name}<`)).toHaveLength(2)
  },
)

test('a task that ends after the debounce of a notice costs its own turn', async () => {
  const held = new Map(['first', 'second', 'third'].map((name) => [name, heldReply()]))
  const parent = await stage.parent(({ messages }) => held.get(messages.at(-1)?.content ?? '')?.reply ?? {})
  await parent.launch(...held.keys())
  await parent.quietBesidesChildren()
  for (const [name, { release }] of held) {
    release({ text: `result of ${name}` })
    await parent.childrenAreIdle(name)
    await stage.pass(DEBOUNCE_MS)
    await parent.waitForNotice(`result of ${name}`)
    await parent.quietBesidesChildren()
  }
  expect(parent.noticeTurns).toHaveLength(3)
})
