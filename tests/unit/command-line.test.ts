import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FLAG, parsedLine, realDirectory, TEXTS, wholeNumber } from '../../src/command-line.ts'
import { UsageError } from '../../src/usage-error.ts'

test('an unknown option of a command line is a mistake of its caller', () => {
  expect(
    parsedLine({ args: ['--a', '1', '--a', '2', '--b'], options: { a: TEXTS, b: FLAG } }).values,
  ).toEqual({
    a: ['1', '2'],
    b: true,
  })
  expect(() => parsedLine({ args: ['--c'], options: { a: TEXTS } })).toThrow(UsageError)
})

test('a number out of its range is refused with the range', () => {
  const range = { least: 5, mostDigits: 3, unit: 'seconds' }
  expect(wholeNumber('lease', '5', range)).toBe(5)
  expect(wholeNumber('lease', '999', range)).toBe(999)
  for (const [text, wanted] of [
    ['4', 'at least 5'],
    ['-5', 'at least 5'],
    ['5.5', 'at least 5'],
    ['', 'at least 5'],
    ['1000', 'at most 3 digits'],
  ] as const)
    expect(() => wholeNumber('lease', text, range)).toThrow(
      `--lease must be a whole number of seconds of ${wanted}, and not ${JSON.stringify(text)}`,
    )
})

test('a directory is returned as its real path, and a file or a missing one is refused', () => {
  const place = mkdtempSync(join(tmpdir(), 'command-line-'))
  try {
    writeFileSync(join(place, 'file'), '')
    expect(realDirectory('root', join(place, '.'))).toBe(realpathSync(place))
    expect(() => realDirectory('root', join(place, 'file'))).toThrow(/^--root: .*file is not a directory$/)
    expect(() => realDirectory('root', join(place, 'none'))).toThrow(/^--root: .*none cannot be used: ENOENT/)
  } finally {
    rmSync(place, { recursive: true })
  }
})
