import { expect, test } from 'vitest'
import { backgroundOutput } from '../../src/tools/background-output.ts'
import { listBackground } from '../../src/tools/list-background.ts'
import { createFakeStage } from '../harness/fake-stage.ts'
import { callOf } from '../harness/tool.ts'

test('the list has the unfinished tasks first, and the 50 newest of the others', async () => {
  const stage = createFakeStage()
  const { clock, launch, answer } = stage
  const list = (args: object = {}): Promise<string> => callOf(stage, listBackground, args)
  const names = Array.from({ length: 57 }, (_, index) => `short ${index}.`)
  for (const name of names) {
    await launch(name)
    answer(name)
    await clock.advance(1000)
  }
  await launch('the long one')
  const all = JSON.stringify(await list())
  expect(all).toContain('(58 total)')
  expect(all.indexOf('the long one')).toBeGreaterThan(0)
  expect(all.indexOf('the long one')).toBeLessThan(all.indexOf('short 7.'))
  expect(names.filter((name) => all.includes(name))).toEqual(names.slice(7))
  expect(all).toContain('7 older ended tasks are not listed.')
  expect(await list({ status: 'running' })).not.toContain('older')
  await expect(callOf(stage, backgroundOutput, { task_id: 'bg_0' })).rejects.toThrow(
    /Known here: (bg_\w+, ){20}and 38 older ones\./,
  )
  answer('the long one')
  await clock.advance(1000)
})

test('R11: the tools report that another living process runs a task and will report its end', async () => {
  const stage = createFakeStage()
  const { clock, launch, answer } = stage
  const { id } = await launch('mine')
  await clock.advance(100)
  const first = stage.manager
  stage.second()
  const textOf = async (call: Promise<string>): Promise<string> => {
    const [answered] = await Promise.allSettled([call, clock.advance(1000)])
    return answered.status === 'fulfilled' ? answered.value : String(answered.reason)
  }
  const list = () => textOf(callOf(stage, listBackground))
  const output = () => textOf(callOf(stage, backgroundOutput, { task_id: id }))
  expect(await list()).toContain(`\`${id}\` (mine) is run by another process (pid 1 on test)`)
  expect(await output()).toContain('which reports its end')
  answer('mine')
  await clock.advance(5000)
  expect(first.get(id)?.status).toBe('completed')
  expect(await list()).not.toContain(id)
})
