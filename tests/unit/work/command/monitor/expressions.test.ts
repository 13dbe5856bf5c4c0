import { describe, expect, test } from 'vitest'
import { isToolError } from '../../../../../src/tool-error.ts'
import { expressionOf } from '../../../../../src/work/command/monitor/expressions.ts'

function matching(entries: readonly string[], lines: readonly string[]): readonly string[] {
  const expression = expressionOf(entries)
  return lines.filter((line) => expression.test(line))
}

function refused(entries: readonly string[]): string {
  try {
    expressionOf(entries)
    return ''
  } catch (error) {
    return isToolError(error) ? error.message : 'another error'
  }
}

describe('an entry', () => {
  test.each([
    ['FAIL|ERROR', 'x ERROR y', true],
    ['FAIL|ERROR', 'error', false],
    ['(?i)fail', 'Fail', true],
    [String.raw`^\s+at .*:\d+$`, '   at a.ts:12', true],
    // As it is written, beside its meaning as an expression.
    ['FAIL (1)', 'FAIL (1)', true],
    ['FAIL (1)', 'FAIL 1', true],
    ['$5.00', 'it costs $5.00 now', true],
    ['a+b', 'a+b', true],
    [String.raw`\[ERROR\]`, '[ERROR] x', true],
    [String.raw`\[ERROR\]`, 'ERROR', false],
    ['[0-9]{3}', 'a 404', true],
  ])('%s on the line %s: %s', (entry, line, isMatch) => {
    expect(matching([entry], [line])).toHaveLength(isMatch ? 1 : 0)
  })

  test.each([
    ['FAIL (1', 'missing closing )'],
    ['*** ERROR', 'missing argument to repetition operator'],
    ['(?=a)b', 'invalid or unsupported Perl syntax'],
    [String.raw`(a)\1`, 'invalid escape sequence'],
    ['a{2000}', 'invalid repeat count'],
    ['[ERROR] x', 'would match any one of these letters'],
    ['x'.repeat(501), 'must not be longer than 500 characters'],
  ])('%s is refused with the reason and an example', (entry, why) => {
    const message = refused([entry])
    expect(message).toContain(why)
    expect(message).toContain('as "FAIL|ERROR"')
    expect(message).toContain('Nothing was started.')
  })
})

test('one of several entries is enough, and an option in one does not reach the next', () => {
  expect(matching(['(?i)one', 'two'], ['ONE', 'two', 'TWO'])).toEqual(['ONE', 'two'])
})

test('no entry, too many, and entries that are too large together are refused', () => {
  expect(refused([])).toContain('give notify_on with it')
  expect(refused(Array.from({ length: 21 }, (_, index) => `e${index}`))).toContain('at most 20 entries')
  expect(refused(Array.from({ length: 20 }, () => '(?:ab){400}'))).toContain('too large')
})
