import { expect, test } from 'vitest'
import { fit, widthOf } from '../../../src/tui/fit.ts'

test.each([
  ['plain', 'plain'],
  ['as long as it may', 'as long as it may'],
  ['longer than it may be', 'longer than it m…'],
  ['two\nlines\tand\u001B[31m more', 'two lines and [3…'],
  ['cut at  blanks  - here', 'cut at blanks -…'],
  ['漢字漢字漢字漢字漢字', '漢字漢字漢字漢字…'],
  ['', ''],
])('%j in 17 cells is %j', (text, expected) => {
  expect(fit(text, 17)).toBe(expected)
  expect(widthOf(fit(text, 17))).toBeLessThanOrEqual(17)
})

test('no text is wider than it may be, however little room there is', () => {
  for (const width of [0, 1, 2, 3]) expect(widthOf(fit('漢字 and more', width))).toBeLessThanOrEqual(width)
})

test('what joins characters takes no cell', () => {
  expect(widthOf('e\u0301')).toBe(1)
  expect(widthOf('✅')).toBe(2)
})
