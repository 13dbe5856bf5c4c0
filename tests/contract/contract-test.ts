/** The `test` of the suite: it hands each case the host of the file, and a child session of its own. */
import { afterAll, beforeAll, test as base } from 'vitest'
import { newChild, type HostUnderTest } from './host-under-test.ts'

export type ContractTest = ReturnType<typeof contractTest>

/** To be called at the top level of a test file, whose cases share one host. */
export function contractTest(makeHost: () => Promise<HostUnderTest>) {
  let shared: HostUnderTest
  beforeAll(async () => {
    shared = await makeHost()
    // The first prompt of a fresh server is slow (2.3), and says nothing about the later ones.
    const warm = await newChild(shared)
    await warm.turn('warm')
  })
  afterAll(() => shared.close())

  return (
    base
      /** Its model answers `ok` until the case sets another script. */
      .extend('host', () => {
        shared.setScript(() => ({ text: 'ok' }))
        return shared
      })
      .extend('child', ({ host }) => newChild(host))
  )
}
