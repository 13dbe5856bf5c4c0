import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { MachineLink } from '../../../src/machines/machine-link.ts'
import { Turns } from '../../../src/worktree/turns.ts'
import { quoted, readFileBy, ScriptError, withScripts, writeFileBy } from '../../../src/machines/scripts.ts'

const evaluated = (command: string): string =>
  execFileSync('bash', ['-c', `echo hello; eval ${JSON.stringify(command)}`]).toString()

/** A machine whose shell is this one, and evaluates each line twice, as OpenCode has it. */
function linkTo(lines: string[] = [], shell = evaluated): MachineLink {
  return {
    name: 'big',
    scripts: new Turns(),
    createSession: () => Promise.resolve('ses_files'),
    deleteSession: () => Promise.resolve(lines.push('deleted')),
    shell: (_: string, command: string) => {
      lines.push(command)
      return Promise.resolve(shell(command))
    },
  } as unknown as MachineLink
}

test('a script gets its values as they are, whatever they contain', async () => {
  const value = `it's "$HOME" \`id\` \\ * ;\nline`
  const printed = await withScripts(linkTo(), 'bg_1', (run) => run(`printf %s ${quoted(value)}`))
  expect(printed).toBe(value)
})

test('a script that fails is reported with the line of its error, and its session is deleted', async () => {
  const lines: string[] = []
  const script = 'echo before\necho "fatal: no such thing" >&2\necho after\nfalse\necho never'
  const failing = withScripts(linkTo(lines), 'bg_1', (run) => run(script))
  await expect(failing).rejects.toThrow(new ScriptError('no such thing'))
  expect(lines.at(-1)).toBe('deleted')
})

test('a script that was cut off counts as no answer', async () => {
  const link = linkTo([], () => 'hello\n')
  await expect(withScripts(link, 'bg_1', (run) => run('true'))).rejects.toMatchObject({ reason: 'noAnswer' })
})

test('scripts of a task wait for its earlier ones, also for failing ones, and not for those of another task', async () => {
  const link = linkTo()
  const done: string[] = []
  const add = (name: string) => (): Promise<unknown> => Promise.resolve(done.push(name))
  let fail: (error: Error) => void = () => {}
  const first = withScripts(link, 'bg_1', () => new Promise((_, reject) => (fail = reject)))
  const second = withScripts(link, 'bg_1', add('second'))
  await withScripts(link, 'bg_2', add('other'))
  expect(done).toEqual(['other'])
  fail(new Error('first'))
  await expect(first).rejects.toThrow('first')
  await second
  expect(done).toEqual(['other', 'second'])
})

test('a file of several pieces is written and read byte for byte, in command lines below 128 KB', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'opencode-scripts-'))
  const lines: string[] = []
  try {
    const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => (index * 7 + (index >> 8)) & 255)
    const path = join(directory, "it's", 'file')
    const read = await withScripts(linkTo(lines), 'bg_1', async (run) => {
      await writeFileBy(run, quoted(path), bytes)
      return readFileBy(run, quoted(path), bytes.length)
    })
    expect(readFileSync(path).equals(bytes)).toBe(true)
    expect(Buffer.from(read).equals(bytes)).toBe(true)
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(128 * 1024)
  } finally {
    rmSync(directory, { recursive: true })
  }
})
