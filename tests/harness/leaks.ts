/**
 * Vitest's setup of each file: a test fails that leaves something behind. Besides what is said in `left.ts`, that is any
 * child process, open file, listener of the process, timer or temporary file that was not there before.
 */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { leftOfTest } from './left.ts'

/** How long what ends needs to be gone. */
const GONE_WITHIN_MS = 5000
const LOOK_MS = 20
/** What keeps a process, or is told something. */
const RESOURCES: ReadonlySet<string> = new Set(['TCPServerWrap', 'PipeServerWrap', 'FSEventWrap'])

/** In the environment of what a test starts, and of what that starts. */
const MARK = `OPENCODE_BACKGROUND_TEST_FILE=${process.pid}`
process.env['OPENCODE_BACKGROUND_TEST_FILE'] = `${process.pid}`

/** Node lists no timer that keeps no process, which all of ours are. */
const timers = new Map<unknown, number | undefined>()
const real = { setTimeout, setInterval, clearTimeout, clearInterval }
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
/** Node's `fetch` keeps its connections for a while, as it does with sockets. */
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

/** The temporary files of this test file alone: others run beside it. */
const outer = process.env['TMPDIR']
const temporary = mkdtempSync(join(tmpdir(), 't-'))
process.env['TMPDIR'] = temporary
/** What tools keep there for their next start. */
const OF_TOOLS = /^tsx-\d+$/

/** Everything that a file could leave, as lines; a line that stands twice is there twice. */
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

/** Those of a file go with it. */
const temporaryFiles = (): string[] =>
  readdirSync(temporary)
    .filter((name) => !OF_TOOLS.test(name))
    .map((name) => `the temporary file ${name}`)
const presentInTest = (): string[] => [...present(), ...temporaryFiles()]

/** With those of which the parent has ended; without esbuild's service, which stays for the next bundle. */
function children(): string[] {
  const own = new Set(readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' '))
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== `${process.pid}`)
  return pids.flatMap((pid) => {
    try {
      const isOurs = own.has(pid) || readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(MARK)
      if (!isOurs) return []
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      // One server in the place of another is none too many.
      return line === '' || line.includes('esbuild') ? [] : [`the process ${line.replaceAll(/\d+/g, 'N')}`]
    } catch {
      return []
    }
  })
}

/** Sockets are connections that Node keeps for the next request. */
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

/** The lines of `now` that are not in `before`. */
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
  // What a test leaves that runs beside others, only the file can tell.
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
