/**
 * Compares the commands that bash runs with those that need a permission. The commands of these lines do not
 * exist: bash reports each to a handler. Some lines are damaged at random, because bash runs parts of those too.
 */
import fc from 'fast-check'
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bashCommandsOf } from '../../src/work/command/required-permissions/second-parser.ts'
import { takes } from '../../src/work/command/required-permissions/bash-check.ts'
import { bashLines, damagedLines } from '../harness/lines.ts'
import { temporaryDirectory } from './commands.ts'

const SEED = 20261126
const LINES = 150
const LONGEST_MS = 2000

test('bash runs no command without a permission, in whole and damaged lines of every construct', async () => {
  const whole = fc.sample(bashLines, { seed: SEED, numRuns: LINES }).map(({ line }) => line)
  const damaged = fc.sample(damagedLines, { seed: SEED, numRuns: 2 * LINES })
  const lines = [...whole, ...damaged]
  const world = temporaryDirectory()
  const results = []
  // Few at a time: the machine is shared.
  for (let at = 0; at < lines.length; at += 4) {
    const some = lines.slice(at, at + 4).map((line, index) => unasked(line, join(world, String(at + index))))
    results.push(...(await Promise.all(some)))
  }
  const taken = results.filter((result) => result !== undefined)
  expect(taken.filter(({ names }) => names.length > 0)).toEqual([])
  expect(taken.reduce((sum, { ran }) => sum + ran, 0)).toBeGreaterThan(LINES)
})

/** Returns how many commands bash ran, and those without a permission; `undefined` for a refused line. */
async function unasked(
  line: string,
  directory: string,
): Promise<{ line: string; ran: number; names: readonly string[] } | undefined> {
  const commands = bashCommandsOf(line)
  if (!commands || !(await takes('/bin/bash', line, {}))) return undefined
  const asked = commands.map(({ tokens: [name = ''] }) => name.replaceAll(/["'\\]/g, ''))
  const ran = await run(line, directory)
  return { line, ran: ran.length, names: ran.filter((name) => !asked.some((each) => each.includes(name))) }
}

/** Returns the names of the commands that bash ran; a command with an odd number fails. */
async function run(line: string, directory: string): Promise<readonly string[]> {
  mkdirSync(directory)
  const log = `${directory}.log`
  writeFileSync(log, '')
  const notFound = `() { printf '%s\\n' "$1" >> ${log}; case $1 in *[13579]) return 1; esac; }`
  const child = spawn('/bin/bash', ['-c', line], {
    cwd: directory,
    env: { PATH: '/nonexistent', 'BASH_FUNC_command_not_found_handle%%': notFound },
    detached: true,
    stdio: 'ignore',
  })
  const kill = (): void => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      // The process group is gone.
    }
  }
  const timer = setTimeout(kill, LONGEST_MS)
  await new Promise((resolve) => child.once('exit', resolve))
  clearTimeout(timer)
  kill()
  return [...new Set(readFileSync(log, 'utf8').match(/^hidden\d+$/gm) ?? [])]
}
