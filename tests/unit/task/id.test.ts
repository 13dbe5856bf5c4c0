import { expect, test } from 'vitest'
import { messageID, newTaskID, partID } from '../../../src/task/id.ts'

test('a task id is bg_ and eight hexadecimal digits, and is unique', () => {
  const ids = Array.from({ length: 1000 }, newTaskID)
  for (const id of ids) expect(id).toMatch(/^bg_[0-9a-f]{8}$/)
  expect(new Set(ids).size).toBe(ids.length)
})

test('a message id depends on key and time alone, so that a notice sent again keeps its id', () => {
  expect(messageID('bg_1 1 ended', 1_763_700_000_000)).toBe(messageID('bg_1 1 ended', 1_763_700_000_000))
  expect(messageID('bg_1 1 ended', 1_763_700_000_000)).not.toBe(messageID('bg_2 1 ended', 1_763_700_000_000))
  expect(messageID('k', 1).slice(3)).not.toBe(partID('k', 1).slice(3))
})

test("ids have OpenCode's format, and sort by time", () => {
  const early = messageID('a', 1_763_700_000_000)
  const late = messageID('a', 1_763_700_000_001)
  expect(early).toMatch(/^msg_[0-9a-f]{12}[0-9A-Za-z]{14}$/)
  expect(partID('a', 1_763_700_000_000)).toMatch(/^prt_[0-9a-f]{12}[0-9A-Za-z]{14}$/)
  expect(early < late).toBe(true)
})
