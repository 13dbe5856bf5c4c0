import { expect, test } from 'vitest'
import * as own from '../../../src/host/opencode.ts'

/** Loads the module once more, as the bundle of another entry has it. */
async function otherBundle(): Promise<typeof own> {
  const url = new URL('../../../src/host/opencode.ts?other', import.meta.url)
  return (await import(url.href)) as typeof own
}

// Seen to fail without `Symbol.hasInstance`: a recovery then waited for each task of a fleet that did not answer.
test('an error of OpenCode is known as one in each bundle, and no other error is', async () => {
  const { HostError } = await otherBundle()
  expect(HostError).not.toBe(own.HostError)
  expect(new HostError('noAnswer', 'late') instanceof own.HostError).toBe(true)
  expect(new own.HostError('refused', 'no') instanceof HostError).toBe(true)
  expect(new Error('no') instanceof own.HostError).toBe(false)
})
