/** The `test` of the suite: it hands each case the host of the file, and a child session of its own. */
import { test as base } from 'vitest'
import { newChild, type HostUnderTest } from './host-under-test.ts'

export type ContractTest = ReturnType<typeof contractTest>

/** To be called at the top level of a test file: the host is started with the first case, and closed with the last. */
export function contractTest(makeHost: () => Promise<HostUnderTest>) {
  return (
    base
      .extend('start', { scope: 'file' }, { makeHost })
      .extend('shared', { scope: 'file' }, async ({ start }, { onCleanup }) => {
        const host = await start.makeHost()
        onCleanup(() => host.close())
        // The first prompt of a fresh server is slow (2.3), and says nothing about the later ones.
        const warm = await newChild(host)
        await warm.turn('warm')
        return host
      })
      /** Its model answers `ok` until the case sets another script. */
      .extend('host', ({ shared }) => {
        shared.setScript(() => ({ text: 'ok' }))
        return shared
      })
      .extend('child', ({ host }) => newChild(host))
  )
}
