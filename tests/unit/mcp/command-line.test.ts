import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseCommandLine } from '../../../src/mcp/command-line.ts'

test('a root that is a file is refused', () => {
  expect(() => parseCommandLine(['--root', fileURLToPath(import.meta.url)])).toThrow('is not a directory')
})

test('a URL with a password is refused, and its password is not repeated', () => {
  const parse = () => parseCommandLine(['--attach', 'http://user:secret@127.0.0.1:4096'])
  expect(parse).toThrow('OPENCODE_SERVER_PASSWORD')
  expect(parse).not.toThrow('secret')
})
