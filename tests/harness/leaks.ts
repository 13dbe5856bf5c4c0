/**
 * Vitest's setup of each file: fails a test that leaves a child process, open file, listener of the process,
 * timer or temporary file behind, or a leak that a check of `left.ts` reports.
 */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { leftOfTest } from './left.ts'

/** The time that ending processes and files may take. */
const GONE_WITHIN_MS = 15_000
const LOOK_MS = 20
/** The resources that keep a process alive, or receive connections or changes. */
const RESOURCES: ReadonlySet<string> = new Set(['TCPServerWrap', 'PipeServerWrap', 'FSEventWrap'])

/** Marks the environment of the processes that a test starts, and of their descendants. */
const MARK = `OPENCODE_BACKGROUND_TEST_FILE=${process.pid}`
process.env['OPENCODE_BACKGROUND_TEST_FILE'] = `${process.pid}`

/** Tracks timers, because Node does not list unref'ed ones, and all of ours are. */
const timers = new Map<unknown, number | undefined>()
type Timers = Pick<typeof globalThis, 'setTimeout' | 'setInterval' | 'clearTimeout' | 'clearInterval'>

/** Node's own functions: this file is loaded again for each test file of a process. */
const { realTimers: real } = Object.assign(globalThis, {
  realTimers: (globalThis as { realTimers?: Timers }).realTimers ?? {
    setTimeout,
    setInterval,
    clearTimeout,
    clearInterval,
  },
})
const track = (
  start: (callback: () => void, ms?: number) => NodeJS.Timeout,
  isOnce: boolean,
): typeof start => {
  return (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
    const handle: NodeJS.Timeout = start(() => {
      if (isOnce) timers.delete(handle)
      callback(...args)
    }, ms)
    if (!isOfFetch(new Error())) timers.set(handle, ms)
    return handle
  }
}
/** Whether `fetch` set the timer: it holds idle connections for a while, as Node does with sockets. */
function isOfFetch({ stack = '' }: Error): boolean {
  return stack.includes('node:internal/deps/undici')
}

const forget =
  (stop: (handle?: NodeJS.Timeout) => void) =>
  (handle?: NodeJS.Timeout): void => {
    timers.delete(handle)
    stop(handle)
  }
Object.assign(globalThis, {
  setTimeout: Object.assign(track(real.setTimeout, true), real.setTimeout),
  setInterval: track(real.setInterval, false),
  clearTimeout: forget(real.clearTimeout),
  clearInterval: forget(real.clearInterval),
})

/** A temporary directory for this test file alone, because others run beside it. */
const outer = process.env['TMPDIR']
const temporary = mkdtempSync(join(tmpdir(), 't-'))
process.env['TMPDIR'] = temporary
/** Files that tools leave there for their next start. */
const OF_TOOLS = /^tsx-\d+$/

/** Returns all resources that a file could leave, as lines; equal lines are repeated. */
function present(): string[] {
  return [
    ...children(),
    ...openFiles(),
    ...process
      .eventNames()
      .flatMap((event) => process.listeners(event as 'exit').map(() => `a listener for ${String(event)}`)),
    ...process.getActiveResourcesInfo().filter((type) => RESOURCES.has(type)),
    ...[...timers.values()].map((ms) => `a timer of ${ms} ms`),
  ]
}

/** Returns the temporary files; those of a test file are removed after it. */
const temporaryFiles = (): string[] =>
  readdirSync(temporary)
    .filter((name) => !OF_TOOLS.test(name))
    .map((name) => `the temporary file ${name}`)
const presentInTest = (): string[] => [...present(), ...temporaryFiles()]

/** Returns the child processes, with orphaned ones; without esbuild's service, which stays for the next bundle. */
function children(): string[] {
  const own = new Set(readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' '))
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== `${process.pid}`)
  return pids.flatMap((pid) => {
    try {
      const isOurs = own.has(pid) || readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(MARK)
      if (!isOurs) return []
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      // Drop the numbers, so that a restarted server equals the one before.
      return line === '' || line.includes('esbuild') ? [] : [`the process ${line.replaceAll(/\d+/g, 'N')}`]
    } catch {
      return []
    }
  })
}

/** Returns the open files, without sockets: Node retains connections for the next request. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      return path.startsWith('/') && !path.startsWith('/dev/') && !path.startsWith('/proc/')
        ? [`the open file ${path}`]
        : []
    } catch {
      return []
    }
  })
}

/** Returns the lines of `now` that are not in `before`. */
function added(now: readonly string[], before: readonly string[]): string[] {
  const known = [...before]
  return now.filter((line) => {
    const index = known.indexOf(line)
    if (index !== -1) known.splice(index, 1)
    return index === -1
  })
}

async function addedSince(before: readonly string[], look: () => string[]): Promise<string[]> {
  const deadline = Date.now() + GONE_WITHIN_MS
  for (;;) {
    const left = added(look(), before)
    if (left.length === 0 || Date.now() > deadline) return left
    await sleep(LOOK_MS)
  }
}

function complain(left: readonly string[], of: string): void {
  if (left.length > 0) throw new Error(`${of} leaves behind:\n  ${left.join('\n  ')}`)
}

let beforeFile: string[]
beforeAll(() => {
  beforeFile = present()
})
const beforeTests = new Map<string, string[]>()
beforeEach(({ task }) => {
  // The leaks of a concurrent test show only at the end of the file.
  if (!task.concurrent) beforeTests.set(task.id, presentInTest())
})
afterEach(async ({ task }) => {
  const before = beforeTests.get(task.id)
  beforeTests.delete(task.id)
  const left = await leftOfTest()
  complain(before ? [...left, ...(await addedSince(before, presentInTest))] : left, 'The test')
})
afterAll(async () => {
  const left = await addedSince(beforeFile, present)
  if (outer === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = outer
  rmSync(temporary, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  complain(left, 'The file')
})
