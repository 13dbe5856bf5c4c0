/** Searches the output of real commands for matching lines. */
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Monitored } from '../../src/task/state.ts'
import { Monitor } from '../../src/work/command/monitor/monitor.ts'
import { ManualClock } from '../harness/manual-clock.ts'
import { residentBytes, run, temporaryDirectory } from './commands.ts'

const MB = 1024 * 1024
/** The promise, and what the collector of garbage and a slow machine add. In CPU time, because a busy machine interrupts. */
const HELD_MS = { median: 20, most: 150 }

/** @param clock one that stands still, where a test is not about time: a search stops after 20 ms, also on a busy machine */
function monitorOf(directory: string, entries: readonly string[], gapMs = 30_000, clock = systemClock) {
  const due: Monitored[] = []
  const onDue = (monitored: Monitored): boolean => due.push(monitored) > 0
  return { due, monitor: new Monitor(entries, { clock, directory, gapMs, onDue }) }
}

function untimed(directory: string, entries: readonly string[]) {
  return monitorOf(directory, entries, 30_000, new ManualClock())
}

/** Returns a directory with this output. */
function written(stdout: string | Buffer, stderr = ''): string {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'stdout'), stdout)
  writeFileSync(join(directory, 'stderr'), stderr)
  return directory
}

function linesOf(stdout: string | Buffer, entry: string, stderr = ''): readonly string[] {
  const { monitor } = untimed(written(stdout, stderr), [entry])
  while (monitor.isBehind) monitor.search(Infinity)
  monitor.finish(false)
  monitor.stop()
  return monitor.view().lines
}

test('lines of both streams match, without escape sequences, and the last one without a line break', () => {
  expect(linesOf('a FAIL\nb\n', 'FAIL', 'c FAIL')).toEqual(['a FAIL', 'c FAIL'])
  expect(linesOf('\u001B[31mFA\u001B[0mIL\n', '^FAIL$')).toEqual(['FAIL'])
  expect(linesOf('1%\r50% FAIL\r\nend\r\n', '^50% FAIL$')).toEqual(['50% FAIL'])
  expect(linesOf('\n\n\nx\n', '.*')).toEqual(['x'])
  expect(linesOf('grün €\n', '^grün €$')).toEqual(['grün €'])
  expect(linesOf(Buffer.from('\0FAIL\xff\0\n', 'latin1'), '^.FAIL')).toEqual(['\\x00FAIL\uFFFD\\x00'])
})

test('the first 16 KB of a line count, wherever it lies in the chunks that are read', () => {
  const long = `${'x'.repeat(16 * 1024 - 4)}FAIL${'y'.repeat(3 * MB)}OTHER\n`
  for (const before of [0, 100, 64 * 1024 - 10]) {
    const output = `${'.'.repeat(before)}\n${long}FAIL after\n`
    expect(linesOf(output, 'FAIL')).toEqual([expect.stringMatching(/^x{199}…$/), 'FAIL after'])
    expect(linesOf(output, 'OTHER')).toEqual([])
  }
})

/** A clock that stands still, but for one interruption: at its reading `at`. */
class InterruptedClock extends ManualClock {
  readonly #at: number
  #readings = 0

  constructor(at: number) {
    super()
    this.#at = at
  }

  override monotonic(): number {
    this.#readings += 1
    return this.#readings > this.#at ? 20 : 0
  }
}

test('a line is searched as far, wherever the machine interrupts its search for 20 ms', () => {
  const line = `${'x'.repeat(10_000)}FAIL\n`
  for (let at = 0; at < 30; at++) {
    const { monitor } = monitorOf(written(line), ['FAIL'], 30_000, new InterruptedClock(at))
    while (monitor.isBehind) monitor.search(Infinity)
    monitor.finish(false)
    expect(monitor.view().lines, `interrupted at ${at}`).toHaveLength(1)
  }
})

test('a line that is written in pieces is matched once, when it is whole', () => {
  const directory = written('FA')
  const { monitor, due } = untimed(directory, ['FAIL'])
  monitor.search(Infinity)
  expect(due).toEqual([])
  appendFileSync(join(directory, 'stdout'), 'IL now\nFAIL')
  monitor.search(Infinity)
  expect(due).toHaveLength(1)
  expect(monitor.take()?.lines).toBe('Matching lines: 1\nFAIL now')
  monitor.stop()
})

// Seen to fail with the offset of the search, instead of the beginning of the line: the begun line was lost.
test('another process continues after the last notice, and neither loses nor repeats a line', () => {
  const directory = written('FAIL 1\nFAIL 2\nFAI')
  const first = untimed(directory, ['FAIL']).monitor
  first.search(Infinity)
  first.take()
  appendFileSync(join(directory, 'stdout'), 'L 3\nFAIL 4\n')
  // It is killed after it has found these, and before their notice.
  first.search(Infinity)
  first.stop()
  const { monitor } = untimed(directory, ['FAIL'])
  expect(monitor.taken?.lines).toContain('FAIL 1\nFAIL 2')
  monitor.told(1)
  monitor.search(Infinity)
  expect(monitor.view()).toMatchObject({ matches: 4, notices: 2 })
  expect(monitor.take()?.lines).toBe('Matching lines: 2, 4 so far\nFAIL 3\nFAIL 4')
  monitor.stop()
})

test('an end that another process finds has all that no notice had, and the same text each time', async () => {
  const directory = written('FAIL 1\nFAIL 2\n')
  const first = untimed(directory, ['FAIL']).monitor
  first.search(Infinity)
  first.take()
  first.stop()
  appendFileSync(join(directory, 'stdout'), 'FAIL 3')
  const text = await monitorOf(directory, ['FAIL']).monitor.searchRest()
  expect(text).toBe('[Matching lines that no notice has: 1 of 3]\nFAIL 3')
  expect(await monitorOf(directory, ['FAIL']).monitor.searchRest()).toBe(text)
})

test('of long output after an end 16 MB are searched, and the text says from where on it is not', async () => {
  const { monitor } = monitorOf(written(Buffer.alloc(40 * MB, 'x'.repeat(99) + '\n')), ['FAIL'])
  const text = await monitor.searchRest()
  expect(text).toContain('[No line of its output matches its notify_on patterns.]')
  const [, offset = ''] = /\[Its stdout is not searched from offset (\d+) on.\]/.exec(text) ?? []
  expect(Number(offset)).toBeGreaterThanOrEqual(16 * MB)
  expect(Number(offset)).toBeLessThan(20 * MB)
})

test.each([
  ['of matching lines', 'FAIL', Buffer.alloc(20 * MB, 'FAIL in a line of forty characters, or so\n')],
  ['without a line break', 'FAIL', Buffer.alloc(20 * MB, 'x')],
  ['of empty lines', 'FAIL', Buffer.alloc(20 * MB, '\n')],
  ['that is slow to match', '[ab]*a[ab]{200}[cd]', Buffer.alloc(2 * MB, `${'abbaab'.repeat(4000)}\n`)],
])('a flood %s holds the process for at most 20 ms at a time, and costs no memory', (_, entry, output) => {
  const { monitor } = monitorOf(written(output), [entry])
  const before = residentBytes()
  const times: number[] = []
  while (monitor.isBehind) {
    const since = process.cpuUsage()
    monitor.search(4 * MB)
    const { user, system } = process.cpuUsage(since)
    times.push((user + system) / 1000)
  }
  monitor.stop()
  const inOrder = times.toSorted((a, b) => a - b)
  expect(inOrder[Math.floor(inOrder.length / 2)]).toBeLessThanOrEqual(HELD_MS.median)
  expect(inOrder.at(-1)).toBeLessThanOrEqual(HELD_MS.most)
  expect(residentBytes() - before).toBeLessThan(60 * MB)
})

test('a command that writes 10,000 matching lines a second for seconds has one notice in a gap, and its end', async () => {
  const script = 'i=0; while [ $i -lt 30 ]; do yes FAIL | head -n 1000; i=$((i+1)); sleep 0.1; done'
  const { process: child, directory } = run(script)
  const { monitor, due } = monitorOf(directory, ['FAIL'], 1000)
  child.watch(monitor)
  const before = residentBytes()
  let taken = 0
  const timer = setInterval(() => {
    const notice = monitor.take()
    if (!notice) return
    taken += 1
    monitor.told(notice.monitored.notices)
  }, 20)
  await child.ended
  clearInterval(timer)
  monitor.finish(false)
  expect(monitor.view().matches).toBe(30_000)
  // The command takes 3 s and what the machine adds.
  expect(due.length).toBeLessThanOrEqual(2 + Math.ceil(((due.at(-1)?.at ?? 0) - (due[0]?.at ?? 0)) / 1000))
  expect(taken).toBeGreaterThan(1)
  expect(residentBytes() - before).toBeLessThan(60 * MB)
})

// Seen to fail where only a search with a limit says so: the end claimed that no line matches.
test('a command that is killed for too much output says from where on that was not searched', async () => {
  const { process: child, directory } = run('yes 0123456789 | head -c 80000000; echo FAIL', {
    maxOutputBytes: 60_000_000,
    onTooMuchOutput: () => child.killNow(),
  })
  const { monitor } = monitorOf(directory, ['FAIL'])
  child.watch(monitor)
  await child.ended
  const text = monitor.finish(false)
  expect(text).toContain('[No line of its output matches its notify_on patterns.]')
  expect(text).toMatch(/\[Its stdout is not searched from offset \d+ on\.\]/)
})
