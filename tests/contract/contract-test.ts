/** The `test` of the suite: gives each case the host of its file, and a child session of its own. */
import { afterAll, beforeAll, test as base } from 'vitest'
import { newChild, type HostUnderTest } from './host-under-test.ts'

export type ContractTest = ReturnType<typeof contractTest>

/** Creates `test` for the top level of a test file, whose cases share one host. */
export function contractTest(makeHost: () => Promise<HostUnderTest>) {
  let shared: HostUnderTest
  beforeAll(async () => {
    shared = await makeHost()
    // The first prompt of a fresh server is slow (2.3), so its time does not count.
    const warm = await newChild(shared)
    await warm.turn('warm')
  })
  afterAll(() => shared.close())

  return (
    base
      /** The model answers `ok` until the case sets another script. */
      .extend('host', () => {
        shared.setScript(() => ({ text: 'ok' }))
        return shared
      })
      .extend('child', ({ host }) => newChild(host))
  )
}
