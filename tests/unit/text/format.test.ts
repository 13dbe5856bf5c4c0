import { expect, test } from 'vitest'
import {
  counted,
  cutMiddle,
  formatCost,
  formatDuration,
  formatTokens,
  listed,
} from '../../../src/text/format.ts'

test('durations are given in the two largest units', () => {
  expect([0, 400, 45_300, 59_949, 59_960, 72_000, 3_600_000, 7_380_000].map(formatDuration)).toEqual([
    '0.0s',
    '0.4s',
    '45.3s',
    '59.9s',
    '1m 0s',
    '1m 12s',
    '1h 0m',
    '2h 3m',
  ])
})

test('tokens and costs are given in about three digits', () => {
  expect([0, 950, 18_200, 1_300_000, 999_960].map(formatTokens)).toEqual([
    '0',
    '950',
    '18.2k',
    '1.3M',
    '1.0M',
  ])
  expect([0, 0.0004, 0.04, 1.2].map(formatCost)).toEqual(['$0', '$0.0004', '$0.04', '$1.20'])
})

test('a list names its first entries, and how many more there are', () => {
  expect(listed(['a', 'b'], 2)).toBe('a, b')
  expect(listed(['a', 'b', 'c', 'd', 'e'], 2)).toBe('a, b and 3 more')
  expect(listed(['a', 'b'], 2, 5)).toBe('a, b and 3 more')
  expect([1, 2].map((count) => counted(count, 'file'))).toEqual(['1 file', '2 files'])
})

test('cutMiddle leaves a text within its limit unchanged', () => {
  expect(cutMiddle('grün', 5, String)).toBe('grün')
})

test('cutMiddle keeps both ends of a longer text, and reports the number of bytes left out', () => {
  expect(cutMiddle('0123456789', 4, (bytes) => `[${bytes}]`)).toBe('01\n[6]\n89')
})

test('cutMiddle cuts no character in two', () => {
  const cut = cutMiddle('ü'.repeat(10), 6, (bytes) => `[${bytes}]`)
  expect(cut).toBe('ü\n[16]\nü')
})
