import { expect, test } from 'vitest'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'

const toastsOf = ({ host }: FakeStage): string[] =>
  host.logged.flatMap(({ level, message }) => (level === 'toast' ? [message] : []))

/** Calls the hook `chat.message` with a message of the user. */
async function write({ manager, parentID, clock }: FakeStage): Promise<void> {
  const message = { id: 'msg_user', time: { created: clock.now() } }
  const hooks = manager.hooks()
  await hooks['chat.message']({ sessionID: parentID }, { message, parts: [{ type: 'text', text: 'hello' }] })
}

test('one toast reports all problems when the user first writes', async () => {
  const stage = createFakeStage({ pollMs: 'often', colour: 'blue' })
  await stage.clock.advance(60_000)
  expect(toastsOf(stage)).toEqual([])
  await write(stage)
  await write(stage)
  await stage.clock.advance(60_000)
  expect(toastsOf(stage)).toEqual([expect.stringMatching(/^option pollMs: .*\noption colour: .*$/)])
  expect(stage.complaints).toEqual(toastsOf(stage))
})

test('a toast reports later problems by themselves, and no known problem again', async () => {
  const stage = createFakeStage({ colour: 'blue' })
  await write(stage)
  await stage.clock.advance(1000)
  for (const problem of ['one', 'two', 'one']) stage.manager.report(problem)
  await stage.clock.advance(1000)
  stage.manager.report('two')
  await stage.clock.advance(60_000)
  expect(toastsOf(stage).slice(1)).toEqual(['one\ntwo'])
  expect(stage.manager.problems.slice(1)).toEqual(['one', 'two'])
})
