import { afterAll, expect, test, vi } from 'vitest'
import { sanitize } from '../../../src/text/sanitize.ts'

const measured = { length: 0 }

vi.doMock('string-width', async (original) => {
  const { default: widthOfAll } = await original<{ default: (text: string) => number }>()
  const counted = (text: string): number => {
    measured.length += text.length
    return widthOfAll(text)
  }
  return { default: counted }
})
vi.resetModules()
const { truncate, widthOf } = await import('../../../src/tui/truncate.ts')
afterAll(() => {
  vi.doUnmock('string-width')
  vi.resetModules()
})

test.each([
  ['plain', 'plain'],
  ['as long as it may', 'as long as it may'],
  ['longer than it may be', 'longer than it m…'],
  ['two\nlines\tand\u001B[31m more', 'two lines and mo…'],
  ['cut at  blanks  - here', 'cut at blanks -…'],
  ['❤️ and 𠮷 take two cells', '❤️ and 𠮷 take t…'],
  ['漢字漢字漢字漢字漢字', '漢字漢字漢字漢字…'],
  ['', ''],
])('%j in 17 cells is %j', (text, expected) => {
  expect(truncate(text, 17)).toBe(expected)
  expect(widthOf(truncate(text, 17))).toBeLessThanOrEqual(17)
})

test('truncate never exceeds the width, however small it is', () => {
  for (const width of [0, 1, 2, 3])
    expect(widthOf(truncate('漢字 and more', width))).toBeLessThanOrEqual(width)
})

test('truncate measures only as much of a long text as fits', () => {
  measured.length = 0
  truncate('漢字 '.repeat(10_000), 17)
  expect(measured.length).toBeGreaterThan(0)
  expect(measured.length).toBeLessThan(100)
})

test('a combining character takes no cell', () => {
  expect(widthOf('e\u0301')).toBe(1)
  expect(widthOf('✅')).toBe(2)
})

test('R4: sanitize removes escape sequences, and escapes every other control character', () => {
  expect(sanitize('a\u001B[1;31mred\u001B[0m\u0007 b\tc\r\nd\re')).toBe('ared\\x07 b\tc\nd\ne')
  expect(sanitize('\u001B]0;a title\u0007x\u001B]8;;http://a\u001B\\link\u001B]8;;\u001B\\')).toBe('xlink')
  expect(sanitize('rm \u202Ecod.\u202C x')).toBe('rm \\u202ecod.\\u202c x')
  expect(sanitize('an end \u001B')).toBe('an end \\x1b')
})
