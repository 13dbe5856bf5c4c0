import { expect, test, vi } from 'vitest'
import { createFakeStage } from '../harness/fake-stage.ts'

const drawn = ['bg_00000001', 'bg_00000001', 'bg_00000001', 'bg_00000002', 'bg_00000003']

vi.mock(import('../../src/task/id.ts'), async (original) => ({
  ...(await original()),
  newTaskID: () => drawn.shift() ?? 'none',
}))

test('tasks that are launched at the same time have different ids, even if both drew the same one', async () => {
  const { launch } = createFakeStage()
  const tasks = await Promise.all([launch('one'), launch('two')])
  expect(tasks.map(({ id }) => id)).toEqual(['bg_00000001', 'bg_00000002'])
})
