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
const GONE_WITHIN_MS = 15_000
const LOOK_MS = 20
const EVENTS = ['exit', 'SIGTERM', 'SIGINT', 'SIGHUP', 'uncaughtException', 'unhandledRejection']

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
    ...EVENTS.flatMap((event) => process.listeners(event as 'exit').map(() => `a listener for ${event}`)),
    ...process
      .getActiveResourcesInfo()
      .filter((type) => type === 'Timeout')
      .map(() => 'a timer'),
  ]
}

/** Those of a file go with it. */
const temporaryFiles = (): string[] =>
  readdirSync(temporary)
    .filter((name) => !OF_TOOLS.test(name))
    .map((name) => `the temporary file ${name}`)
const presentInTest = (): string[] => [...present(), ...temporaryFiles()]

/** Without esbuild's service, which stays for the next bundle. */
function children(): string[] {
  const own = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean)
  return own.flatMap((pid) => {
    try {
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
