import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

/** The numbers that new ids are made of, one after the other. */
const DRAWN = [1, 1, 1, 2]

// The modules of `src` import the function by its name.
beforeEach(() => {
  const drawn = [...DRAWN]
  vi.spyOn(crypto, 'randomBytes').mockImplementation((size: number) => {
    const bytes = Buffer.alloc(size)
    bytes.writeUInt8(drawn.shift() ?? 99, size - 1)
    return bytes
  })
  syncBuiltinESMExports()
})
afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})

test('tasks that are launched at the same time have different ids, even if both drew the same one', async () => {
  const { launch } = createFakeStage()
  const tasks = await Promise.all([launch('one'), launch('two')])
  expect(tasks.map(({ id }) => id)).toEqual(['bg_00000001', 'bg_00000002'])
})
