import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { connect } from '../../../src/host/opencode.ts'
import { MachineLink } from '../../../src/machines/machine-link.ts'
import { withScripts } from '../../../src/machines/scripts.ts'
import { ManualClock } from '../../harness/manual-clock.ts'

/** A machine whose shells never answer. While it is `away`, nothing does. */
let calls: string[]
let isAway: boolean
let link: MachineLink
let clock: ManualClock
let contacts: boolean[]
let disposal: AbortController

const BODIES: Readonly<Record<string, unknown>> = {
  'POST /session': { id: 'ses_files' },
  'GET /session/status': {},
}

function answer({ method, url, signal }: Request): Promise<Response> {
  const call = `${method} ${new URL(url).pathname}`
  calls.push(call)
  if (!isAway && !call.endsWith('/shell')) return Promise.resolve(Response.json(BODIES[call] ?? true))
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')))
  })
}

beforeEach(() => {
  vi.stubGlobal('fetch', answer)
  calls = []
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

test('a machine that goes away while a script runs there is lost, and the script ends before the next one', async () => {
  const stopUsing = link.use()
  const script = withScripts(link, 'bg_1', (run) => run('true'))
  const failed = script.catch((error: unknown) => error)
  await clock.settle()
  expect(count('POST /session/ses_files/shell')).toBe(1)
  isAway = true
  await clock.advance(30_000)
  expect(await failed).toMatchObject({ reason: 'noAnswer' })
  expect(contacts).toEqual([false])
  expect(calls).not.toContain('DELETE /session/ses_files')
  isAway = false
  await clock.advance(10_000)
  expect(contacts).toEqual([false, true])
  calls.length = 0
  await link.createSession({})
  expect(calls).toEqual(['POST /session/ses_files/abort', 'DELETE /session/ses_files', 'POST /session'])
  await link.createSession({})
  expect(count('POST /session/ses_files/abort')).toBe(1)
  stopUsing()
  expect(clock.pending).toBe(0)
})

test('a machine that answers stays in contact, however long a script runs there', async () => {
  const stopUsing = link.use()
  const script = withScripts(link, 'bg_1', (run) => run('true'))
  script.catch(() => {})
  await clock.settle()
  expect(count('POST /session/ses_files/shell')).toBe(1)
  await clock.advance(75_000)
  expect(count('GET /session/status')).toBe(5)
  expect(contacts).toEqual([])
  stopUsing()
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
