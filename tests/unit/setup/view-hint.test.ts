import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Event, Session } from '../../../src/host/opencode.ts'
import { VIEW_COMMAND } from '../../../src/task/request.ts'
import { ViewHint } from '../../../src/setup/view-hint.ts'
import { ManualClock } from '../../harness/manual-clock.ts'
import { pendingTask } from '../../harness/tasks.ts'

let directory: string
let clock: ManualClock
let shown: string[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'opencode-hint-'))
  clock = new ManualClock()
  shown = []
})
afterEach(() => rmSync(directory, { recursive: true }))

const hint = (place = directory): ViewHint =>
  new ViewHint({ clock, directory: place, show: (text) => shown.push(text) })

const created = (metadata: object): Event => ({
  id: 'evt_1',
  type: 'session.created',
  properties: { sessionID: 'ses_child', info: { id: 'ses_child', metadata } as unknown as Session },
})
const owner = { name: 'test', directory: '/project', host: 'test', pid: 1, process: '1' }
const launched = created({ background: { ...pendingTask(), version: 1, owner } })
const announced: Event = {
  id: 'evt_2',
  type: 'tui.command.execute',
  properties: { command: VIEW_COMMAND },
}

test('N8: the hint is shown once when no view announces itself soon after the first launch', async () => {
  const one = hint()
  one.handleEvent(created({}))
  await clock.advance(60_000)
  expect(shown).toEqual([])
  one.handleEvent(launched)
  one.handleEvent(launched)
  await clock.advance(9000)
  expect(shown).toEqual([])
  await clock.advance(60_000)
  expect(shown).toEqual([expect.stringContaining('into tui.json')])
})

test.for([
  ['before', [announced, launched]],
  ['after', [launched, announced]],
] as const)('N8: no hint is shown when a view announces itself %s a launch', async ([, events]) => {
  const one = hint()
  for (const event of events) one.handleEvent(event)
  await clock.advance(60_000)
  expect(shown).toEqual([])
})

test('N8: the hint is shown once on a machine, however often OpenCode starts', async () => {
  // The terminal UI loads the plugin twice.
  for (const one of [hint(), hint(), hint()]) one.handleEvent(launched)
  await clock.advance(60_000)
  hint().handleEvent(launched)
  await clock.advance(60_000)
  expect(shown).toHaveLength(1)
})

test('N8: the hint is shown even if its marker file cannot be written', async () => {
  writeFileSync(join(directory, 'file'), '')
  hint(join(directory, 'file', 'inside')).handleEvent(launched)
  await clock.advance(60_000)
  expect(shown).toHaveLength(1)
})

test('N8: a disposed instance shows no hint', async () => {
  const one = hint()
  one.handleEvent(launched)
  one.dispose()
  await clock.advance(60_000)
  expect(shown).toEqual([])
})
