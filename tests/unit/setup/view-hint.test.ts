import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Session } from '../../../src/host/opencode.ts'
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

const created = (metadata: object): Session => ({ id: 'ses_child', metadata }) as unknown as Session
const owner = { name: 'test', directory: '/project', host: 'test', pid: 1, process: '1' }
const launched = created({ background: { ...pendingTask(), version: 1, owner } })

test('N8: the hint is shown once when no view announces itself soon after the first launch', async () => {
  const one = hint()
  one.observeCreated(created({}))
  await clock.advance(60_000)
  expect(shown).toEqual([])
  one.observeCreated(launched)
  one.observeCreated(launched)
  await clock.advance(9000)
  expect(shown).toEqual([])
  await clock.advance(60_000)
  expect(shown).toEqual([expect.stringContaining('into tui.json')])
})

test.for(['before', 'after'])(
  'N8: no hint is shown when a view announces itself %s a launch',
  async (when) => {
    const one = hint()
    if (when === 'before') one.observeCommand(VIEW_COMMAND)
    one.observeCreated(launched)
    if (when === 'after') one.observeCommand(VIEW_COMMAND)
    await clock.advance(60_000)
    expect(shown).toEqual([])
  },
)

test('N8: the hint is shown once on a machine, however often OpenCode starts', async () => {
  // The terminal UI loads the plugin twice.
  for (const one of [hint(), hint(), hint()]) one.observeCreated(launched)
  await clock.advance(60_000)
  hint().observeCreated(launched)
  await clock.advance(60_000)
  expect(shown).toHaveLength(1)
})

test('N8: the hint is shown even if its marker file cannot be written', async () => {
  writeFileSync(join(directory, 'file'), '')
  hint(join(directory, 'file', 'inside')).observeCreated(launched)
  await clock.advance(60_000)
  expect(shown).toHaveLength(1)
})

test('N8: a disposed instance shows no hint', async () => {
  const one = hint()
  one.observeCreated(launched)
  one.dispose()
  await clock.advance(60_000)
  expect(shown).toEqual([])
})
