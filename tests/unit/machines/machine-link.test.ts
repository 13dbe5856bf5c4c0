import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { connect } from '../../../src/host/calls.ts'
import { MachineLink } from '../../../src/machines/machine-link.ts'
import { withScripts } from '../../../src/machines/scripts.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

/** A machine whose shells never answer, nor a session in a slow directory. While it is `away`, nothing does. */
let calls: string[]
let created: number
let isAway: boolean
let link: MachineLink
let clock: ManualClock
let contacts: boolean[]
let disposal: AbortController

const BODIES: Readonly<Record<string, unknown>> = {
  'GET /session/status': {},
}
const SLOW = 'GET /session/ses_slow/message'

function answer({ method, url, signal }: Request): Promise<Response> {
  const call = `${method} ${new URL(url).pathname}`
  calls.push(call)
  const isAnswered = !isAway && call !== SLOW && !call.endsWith('/shell')
  if (call === 'POST /session' && isAnswered)
    return Promise.resolve(Response.json({ id: `ses_files_${(created += 1)}` }))
  if (isAnswered) return Promise.resolve(Response.json(BODIES[call] ?? true))
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')))
  })
}

beforeEach(() => {
  vi.stubGlobal('fetch', answer)
  calls = []
  created = 0
  contacts = []
  isAway = false
  clock = new ManualClock()
  disposal = new AbortController()
  const options = { passwordEnv: '', slots: 4, labels: [], untracked: false, directory: '/project' }
  link = new MachineLink(
    'big',
    { ...options, url: 'http://big.example' },
    {
      clock,
      connect,
      disposal: disposal.signal,
      onContact: ({ lost }) => contacts.push(lost === undefined),
    },
  )
})
afterEach(() => {
  disposal.abort()
  vi.unstubAllGlobals()
})

const count = (call: string): number => calls.filter((each) => each === call).length

test('a machine that goes away while a script runs there is lost, and the script is aborted before the next one', async () => {
  const stopUsing = link.use()
  const script = withScripts(link, 'bg_1', (run) => run('true'))
  const failed = script.catch((error: unknown) => error)
  await clock.settle()
  expect(count('POST /session/ses_files_1/shell')).toBe(1)
  isAway = true
  await clock.advance(30_000)
  expect(await failed).toMatchObject({ reason: 'noAnswer' })
  expect(contacts).toEqual([false])
  expect(calls).not.toContain('DELETE /session/ses_files_1')
  isAway = false
  await clock.advance(10_000)
  expect(contacts).toEqual([false, true])
  calls.length = 0
  await link.createSession({})
  expect(calls).toEqual(['POST /session/ses_files_1/abort', 'DELETE /session/ses_files_1', 'POST /session'])
  await link.createSession({})
  expect(count('POST /session/ses_files_1/abort')).toBe(1)
  stopUsing()
  expect(clock.pending).toBe(0)
})

test('a machine that answers stays in contact, however long a script runs there', async () => {
  const stopUsing = link.use()
  const script = withScripts(link, 'bg_1', (run) => run('true'))
  script.catch(() => {})
  await clock.settle()
  expect(count('POST /session/ses_files_1/shell')).toBe(1)
  await clock.advance(75_000)
  expect(count('GET /global/health')).toBe(5)
  expect(contacts).toEqual([])
  stopUsing()
})

test('a slow answer about one session loses no machine that answers, and gives up no script', async () => {
  const stopUsing = link.use()
  const script = withScripts(link, 'bg_1', (run) => run('true'))
  let end: unknown
  script.catch((error: unknown) => (end = error))
  await clock.settle()
  const messages = link.opencode.messages('ses_slow').catch((error: unknown) => error)
  for (let seconds = 0; seconds < 40; seconds += 10) {
    await clock.advance(10_000)
    link.observeEvent()
  }
  expect(await messages).toMatchObject({ reason: 'noAnswer' })
  expect(contacts).toEqual([])
  expect(end).toBeUndefined()
  // Once for each call that is slow.
  expect(count('GET /global/health')).toBe(2)
  stopUsing()
})

test('a call without an answer loses a machine that does not answer either, and waits no longer for that', async () => {
  isAway = true
  const messages = link.opencode.messages('ses_slow').catch((error: unknown) => error)
  await clock.advance(14_999)
  expect(contacts).toEqual([])
  await clock.advance(1)
  expect(await messages).toMatchObject({ reason: 'noAnswer' })
  expect(contacts).toEqual([false])
})

test('a script that takes too long is aborted at once, and no script of another task is', async () => {
  const script = withScripts(link, 'bg_1', (run) => run('true')).catch((error: unknown) => error)
  await clock.advance(200_000)
  const other = withScripts(link, 'bg_2', (run) => run('true'))
  other.catch(() => {})
  await clock.advance(100_000)
  expect(await script).toMatchObject({ reason: 'noAnswer' })
  expect(contacts).toEqual([])
  const ended = calls.filter((call) => /abort|DELETE/.test(call))
  expect(ended).toEqual(['POST /session/ses_files_1/abort', 'DELETE /session/ses_files_1'])
})

test('a machine that sends events is not asked', async () => {
  const stopUsing = link.use()
  for (let seconds = 0; seconds < 120; seconds += 10) {
    await clock.advance(10_000)
    link.observeEvent()
  }
  expect(calls).toEqual([])
  stopUsing()
  expect(clock.pending).toBe(0)
})
