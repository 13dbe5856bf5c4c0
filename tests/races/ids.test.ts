import { afterAll, expect, test, vi } from 'vitest'

const drawn = ['bg_00000001', 'bg_00000001', 'bg_00000001', 'bg_00000002', 'bg_00000003']

vi.doMock(import('../../src/task/id.ts'), async (original) => ({
  ...(await original()),
  newTaskID: () => drawn.shift() ?? 'none',
}))
vi.resetModules()
afterAll(() => {
  vi.doUnmock('../../src/task/id.ts')
  vi.resetModules()
})

test('tasks that are launched at the same time have different ids, even if both drew the same one', async () => {
  const { createFakeStage } = await import('../harness/fake-stage.ts')
  const { launch } = createFakeStage()
  const tasks = await Promise.all([launch('one'), launch('two')])
  expect(tasks.map(({ id }) => id)).toEqual(['bg_00000001', 'bg_00000002'])
})
