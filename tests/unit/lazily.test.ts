import { expect, test } from 'vitest'
import { lazily } from '../../src/lazily.ts'

test('a part is loaded once, at its first use', async () => {
  let loads = 0
  const part = lazily(() => Promise.resolve((loads += 1)))
  expect(loads).toBe(0)
  expect(await Promise.all([part(), part()])).toEqual([1, 1])
  expect(await part()).toBe(1)
})

test('a load that fails is refused with what to do, and the next use loads again', async () => {
  let loads = 0
  const part = lazily(() =>
    (loads += 1) === 1 ? Promise.reject(new Error('no such file')) : Promise.resolve('loaded'),
  )
  await expect(part()).rejects.toMatchObject({
    name: 'ToolError',
    code: 'hostFailed',
    message: expect.stringMatching(/could not be loaded: no such file\. Try again/) as string,
  })
  expect(await part()).toBe('loaded')
})
