import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { bundle } from '../../../../scripts/build.ts'
import type * as Line from '../../../../src/work/command/required-permissions/command-line.ts'

const BASH = { shell: '/bin/bash', env: process.env }

const folder = mkdtempSync(join(tmpdir(), 'opencode-line-'))
afterAll(() => rmSync(folder, { recursive: true }))

test.each(['tree-sitter.cjs', 'tree-sitter.wasm', 'tree-sitter-bash.wasm'])(
  'the bundle reads %s for the first line, and retries for the next line after a failure',
  async (name) => {
    const outdir = join(folder, name)
    const path = await bundle(outdir, { line: 'work/command/required-permissions/command-line.ts' })
    const file = join(outdir, 'tree-sitter', name)
    renameSync(file, `${file}.away`)
    const { commandsOf } = (await import(path)) as typeof Line
    await expect(commandsOf('ls', BASH)).rejects.toThrow(name)
    renameSync(`${file}.away`, file)
    expect(await commandsOf('ls', BASH)).toEqual({ commands: [{ text: 'ls', tokens: ['ls'] }] })
  },
)
