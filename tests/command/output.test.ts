/** Reads the output of commands. */
import { appendFileSync, existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import {
  isRunning,
  readProcessIdentity,
  readTail,
  type Tail,
  type TailOptions,
} from '../../src/work/command/files.ts'
import { isGroupAlive } from '../../src/work/command/process-group.ts'
import { removeOld } from '../../src/work/command/remove-old.ts'
import { markTold } from '../../src/work/command/retention.ts'
import { ManualClock } from '../harness/manual-clock.ts'
import { residentBytes, run, temporaryDirectory, watchFor, written } from './commands.ts'

const MB = 1024 * 1024
const COMMANDS = { isRunning, readProcessIdentity, isGroupAlive }

function tailOf(log: string | Buffer, options: TailOptions): Tail {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'stdout'), log)
  return readTail(directory, 'stdout', options)
}

describe('the end of a log', () => {
  test('is the whole log if that is short enough', () => {
    expect(tailOf('a\nb\n', { bytes: 4 })).toEqual({ text: 'a\nb\n', leftOutBytes: 0 })
    expect(tailOf('a\nb', { bytes: 100, lines: 2 })).toEqual({ text: 'a\nb', leftOutBytes: 0 })
    expect(tailOf('', { bytes: 100 })).toEqual({ text: '', leftOutBytes: 0 })
  })

  test('begins at the beginning of a line', () => {
    expect(tailOf('one\ntwo\nthree\n', { bytes: 10 })).toEqual({ text: 'two\nthree\n', leftOutBytes: 4 })
    expect(tailOf('one\ntwo\nthree\n', { bytes: 9 })).toEqual({ text: 'three\n', leftOutBytes: 8 })
    expect(tailOf('one\ntwo\nthree\n', { bytes: 6 })).toEqual({ text: 'three\n', leftOutBytes: 8 })
  })

  test('is the end of a last line that alone is too long, and begins with a whole character', () => {
    expect(tailOf('one\nthree\n', { bytes: 4 })).toEqual({ text: 'ree\n', leftOutBytes: 6 })
    expect(tailOf('aä€𝄞', { bytes: 6 })).toEqual({ text: '𝄞', leftOutBytes: 6 })
    expect(tailOf('aä€𝄞', { bytes: 7 })).toEqual({ text: '€𝄞', leftOutBytes: 3 })
  })

  test('has at most `lines` lines, with or without a newline at the end', () => {
    expect(tailOf('a\nb\nc\n', { bytes: 100, lines: 2 })).toEqual({ text: 'b\nc\n', leftOutBytes: 2 })
    expect(tailOf('a\nb\nc', { bytes: 100, lines: 2 })).toEqual({ text: 'b\nc', leftOutBytes: 2 })
    expect(tailOf('a\n\n\n', { bytes: 100, lines: 2 })).toEqual({ text: '\n\n', leftOutBytes: 2 })
    expect(tailOf('\n\n', { bytes: 100, lines: 9 })).toEqual({ text: '\n\n', leftOutBytes: 0 })
    expect(tailOf('a\nb\n', { bytes: 100, lines: 0 })).toEqual({ text: '', leftOutBytes: 4 })
    expect(tailOf('aaaa\nb\nc\n', { bytes: 5, lines: 1 })).toEqual({ text: 'c\n', leftOutBytes: 7 })
  })

  test('omits a character that is only partly written', () => {
    const euro = Buffer.from('€')
    expect(tailOf(Buffer.concat([Buffer.from('a'), euro.subarray(0, 2)]), { bytes: 9 }).text).toBe('a')
    expect(tailOf(Buffer.from([0x61, 0xff, 0x62]), { bytes: 9 }).text).toBe('a\uFFFDb')
  })

  test('has no escape sequences', () => {
    const log = '\u001B[1;32mok\u001B[0m \u001B]8;;http://x\u0007link\u001B]8;;\u0007\n'
    expect(tailOf(log, { bytes: 1000 }).text).toBe('ok link\n')
  })

  test('has only the last state of an overwritten line, and so more of the lines before it', () => {
    const bar = Array.from({ length: 101 }, (_, percent) => `\r${percent}%`).join('')
    const log = `begin\r\n${bar}\ndone\n`
    expect(tailOf(log, { bytes: 100 })).toEqual({ text: 'begin\n100%\ndone\n', leftOutBytes: 0 })
    expect(tailOf(`${bar}\r`, { bytes: 100 })).toEqual({ text: '100%', leftOutBytes: 0 })
    expect(tailOf(log, { bytes: 100, lines: 1 })).toEqual({ text: 'done\n', leftOutBytes: log.length - 5 })
    const short = 'begin\r\n\r1%\r99%\ndone\n'
    expect(tailOf(short, { bytes: 9 })).toEqual({ text: '99%\ndone\n', leftOutBytes: 7 })
    expect(tailOf('\r\r\n\ra\rb', { bytes: 9 })).toEqual({ text: '\nb', leftOutBytes: 0 })
  })

  test('is read quickly, even if a line of a megabyte overwrites itself', () => {
    expect(tailOf(`${'x'.repeat(MB)}\r${'y'.repeat(MB)}`, { bytes: 22_000 }).text).toMatch(/^y{22000}$/)
  })
})

describe('watched texts', () => {
  test('match once each, in either stream, before the end', async () => {
    const { process: child } = run('echo ready; echo ready; echo listening >&2; printf "no newline"')
    const found: string[] = []
    watchFor(child, ['ready', 'listening', 'no newline', 'absent'], (text) => found.push(text))
    await child.ended
    expect(found.toSorted()).toEqual(['listening', 'no newline', 'ready'])
  })

  test('match when they are written in pieces, with escape sequences in between', async () => {
    const command =
      'printf "Loc"; sleep 0.4; printf "al:\\033[3"; sleep 0.4; printf "2m http\\342\\202"; sleep 0.4; printf "\\254\\n"; sleep 100'
    const { process: child } = run(command)
    expect(await written(child, 'Local: http€')).toBe('Local: http€')
  })

  test('match at every place of a long output, each as soon as it is written', async () => {
    const { process: child, directory } = run('sleep 100')
    const found: string[] = []
    watchFor(child, ['needle', 'end'], (text) => found.push(text))
    // Lies across the end of the first chunk that is read.
    appendFileSync(join(directory, 'stdout'), `${'x'.repeat(64 * 1024 - 3)}needle${'y'.repeat(MB)}`)
    await expect.poll(() => found).toEqual(['needle'])
    appendFileSync(join(directory, 'stdout'), 'end')
    await expect.poll(() => found).toEqual(['needle', 'end'])
  })

  test('match in the output of leftover processes, until these have ended or are killed', async () => {
    const cwd = temporaryDirectory()
    const { process: child } = run('(until [ -e go ]; do sleep 0.05; done; echo late) & echo early', { cwd })
    const found: string[] = []
    watchFor(child, ['early', 'late', 'never'], (text) => found.push(text))
    await child.ended
    expect(found).toEqual(['early'])
    writeFileSync(join(cwd, 'go'), '')
    await child.gone
    expect(found).toEqual(['early', 'late'])
    expect(child.wasSignalled).toBe(false)
    const { process: killed } = run(
      '(trap "echo told; exit" TERM; echo up; : > up; while :; do sleep 0.1; done) & until [ -e up ]; do sleep 0.05; done',
      { cwd: temporaryDirectory() },
    )
    const heard: string[] = []
    watchFor(killed, ['up', 'told'], (text) => heard.push(text))
    await killed.ended
    await killed.kill()
    await killed.gone
    expect(heard).toEqual(['up'])
    expect(killed.wasSignalled).toBe(true)
  })

  test('need no timer after their match, nor after the end of the command', async () => {
    const clock = new ManualClock()
    const cwd = temporaryDirectory()
    const { process: child } = run('echo ready; until [ -e go ]; do sleep 0.05; done', { clock, cwd })
    const first = new Promise((resolve) => watchFor(child, ['ready'], resolve))
    await expect.poll(async () => (await clock.advance(250), clock.pending)).toBe(0)
    await first
    watchFor(child, ['never'], () => {})
    expect(clock.pending).toBe(1)
    writeFileSync(join(cwd, 'go'), '')
    await child.ended
    expect(clock.pending).toBe(0)
    watchFor(child, ['never'], () => {})
    expect(clock.pending).toBe(0)
  })
})

describe('much output', () => {
  test('is reported once for both streams together, and never below the limit', async () => {
    let told = 0
    const limited = (command: string, maxOutputBytes: number) =>
      run(command, { maxOutputBytes, onTooMuchOutput: () => told++ }).process
    await limited('printf 12345; printf 12345 >&2', 10).ended
    expect(told).toBe(0)
    await limited('printf 12345; printf 123456 >&2', 10).ended
    expect(told).toBe(1)
  })

  test('ends the command when the callback kills it', async () => {
    const { process: child } = run('yes', { maxOutputBytes: MB, onTooMuchOutput: () => void child.kill() })
    expect(await child.ended).toEqual({ type: 'killed', signal: 'SIGTERM' })
    expect(child.size('stdout')).toBeGreaterThan(MB)
  })

  test('of 200 MB costs no memory, and its end is correct to the byte', async () => {
    const line = `${'0123456789'.repeat(10)}\n`
    const before = residentBytes()
    const { process: child } = run(`yes ${line.trim()} | head -c ${200 * MB - 4}; printf 'end\\n'`, {
      maxOutputBytes: 1024 * MB,
    })
    watchFor(child, ['absent'], () => {})
    let most = 0
    const timer = setInterval(() => {
      child.tail('stdout', { bytes: 64 * 1024, lines: 100 })
      most = Math.max(most, residentBytes() - before)
    }, 50)
    expect(await child.ended).toEqual({ type: 'exited', code: 0 })
    clearInterval(timer)
    most = Math.max(most, residentBytes() - before)
    expect(child.size('stdout')).toBe(200 * MB)
    const cut = (200 * MB - 4) % line.length
    const { text, leftOutBytes } = child.tail('stdout', { bytes: 1000 })
    const whole = Math.floor((1000 - cut - 4) / line.length)
    expect(text).toBe(`${line.repeat(whole)}${line.slice(0, cut)}end\n`)
    expect(leftOutBytes).toBe(200 * MB - text.length)
    expect(most).toBeLessThan(20 * MB)
  })
})

describe('removeOld', () => {
  const DAY_MS = 24 * 60 * 60 * 1000

  const FILES = ['stdout', 'stderr', 'process', 'exit', 'exit.new', 'task', 'told', '.']

  /** Sets the modification time of the directory, or of these files, so many days back. */
  function age(directory: string, days: number, names: readonly string[] = FILES): void {
    const at = new Date(Date.now() - days * DAY_MS)
    for (const name of names) {
      if (existsSync(join(directory, name))) utimesSync(join(directory, name), at, at)
    }
  }

  test('removes commands that ended long ago, but neither recent nor running ones', async () => {
    const root = temporaryDirectory()
    const place = (name: string) => join(root, name)
    const old = run('true', { directory: place('old') })
    const recent = run('true', { directory: place('recent') })
    const running = run('sleep 100', { directory: place('running') })
    const lost = run('sleep 100', { directory: place('lost') })
    const writing = run('true', { directory: place('writing') })
    lost.process.killNow()
    await Promise.all([old, recent, lost, writing].map(({ process: child }) => child.ended))
    mkdirSync(place('begun'))
    writeFileSync(place('file'), '')
    for (const name of ['old', 'running', 'lost', 'writing', 'begun']) age(place(name), 8)
    age(place('recent'), 6)
    appendFileSync(join(place('writing'), 'stdout'), 'of what it has left running')

    await removeOld(root, Infinity, systemClock, COMMANDS)
    const left = ['old', 'recent', 'running', 'lost', 'writing', 'begun', 'file'].filter((name) =>
      existsSync(place(name)),
    )
    expect(left).toEqual(['recent', 'running', 'writing', 'file'])
    expect(running.process.size('stdout')).toBe(0)
  })

  test('removes the oldest ended and reported commands when all together exceed the limit', async () => {
    const root = temporaryDirectory()
    const place = (name: string) => join(root, name)
    const ended = ['untold', 'oldest', 'older', 'newest']
    const children = ended.map((name) => run('head -c 10000 /dev/zero', { directory: place(name) }))
    const left = run('head -c 10000 /dev/zero; sleep 100 &', { directory: place('left') })
    run('head -c 10000 /dev/zero; sleep 100', { directory: place('running') })
    await Promise.all([...children, left].map(({ process: child }) => child.ended))
    for (const name of ['oldest', 'older', 'newest', 'left', 'running']) markTold(place(name))
    for (const [days, name] of ['newest', 'older', 'oldest', 'untold', 'running', 'left'].entries())
      age(place(name), days)
    const kept = async (maxTotalBytes: number): Promise<string[]> => {
      await removeOld(root, maxTotalBytes, systemClock, COMMANDS)
      return [...ended, 'left', 'running'].filter((name) => existsSync(place(name)))
    }
    expect(await kept(100_000)).toEqual([...ended, 'left', 'running'])
    expect(await kept(55_000)).toEqual(['untold', 'older', 'newest', 'left', 'running'])
    expect(await kept(0)).toEqual(['untold', 'left', 'running'])
  })

  test('removes the commands that ended longest ago, however late their ends were reported', async () => {
    const root = temporaryDirectory()
    const place = (name: string) => join(root, name)
    const children = ['told late', 'lost, told late', 'newer'].map((name) =>
      run(name.startsWith('lost') ? 'sleep 100' : 'true', { directory: place(name) }),
    )
    children[1]?.process.killNow()
    await Promise.all(children.map(({ process: child }) => child.ended))
    for (const [days, name] of ['newer', 'lost, told late', 'told late'].entries()) {
      writeFileSync(join(place(name), 'stdout'), Buffer.alloc(10_000))
      age(place(name), days + 1)
    }
    for (const name of ['newer', 'told late', 'lost, told late']) markTold(place(name))
    age(place('newer'), 0.5, ['told', '.'])
    const kept = async (maxTotalBytes: number): Promise<string[]> => {
      await removeOld(root, maxTotalBytes, systemClock, COMMANDS)
      return ['told late', 'lost, told late', 'newer'].filter((name) => existsSync(place(name)))
    }
    expect(await kept(25_000)).toEqual(['lost, told late', 'newer'])
    expect(await kept(15_000)).toEqual(['newer'])
  })

  test('does nothing where no command has ever run', async () => {
    await expect(removeOld('/nowhere', 0, systemClock, COMMANDS)).resolves.toBeUndefined()
  })
})
