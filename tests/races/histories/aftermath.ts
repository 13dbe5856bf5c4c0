/** Checks the invariants after a history. Each finding is a sentence; there should be none. */
import { haveSameKey } from '../../../src/task/id.ts'
import { isEnded } from '../../../src/task/task.ts'
import { GO_ON } from '../../../src/launch/after-restart.ts'
import { GAP_MS, LIMITS, type Play } from './play.ts'
import { exists, lineKey } from './witness.ts'

/** Long enough for all start timeouts, backoffs and retries, one task after another. */
const LONG_MS = 600_000
/** How many notices of matching lines a command may have before that of its end. */
const MOST_MONITOR_NOTICES = 20
/** A message can continue a task after a restart (`afterRestart`), whose end is then reported with the next one. */
const ENDS = ['end one', 'end two', 'end three', 'end four']

/**
 * Plays the history to its end, and returns the findings. Unarchives all parents, and redoes undone messages if
 * `redoes` is set. Then the user writes a few times.
 */
export async function wrongIn(play: Play): Promise<string[]> {
  const { witness, stage } = play
  const { host, clock } = stage
  play.settle()
  await clock.advance(LONG_MS)
  await play.cancelWaiting()
  play.noteOwn()
  const wrong = await unquiet(play)
  for (const parentID of play.living()) {
    witness.opened(parentID)
    if (host.session(parentID).time.archived) host.userArchive(parentID, false)
    if (!host.session(parentID).revert) continue
    if (play.history.redoes) host.userUnrevert(parentID)
    else play.disturbed.add(parentID)
  }
  await clock.advance(LONG_MS)
  const toldUnasked = witness.told()
  for (const text of ENDS) {
    for (const parentID of play.living()) host.userPrompt(parentID, text)
    await clock.advance(LONG_MS)
    await play.cancelWaiting()
  }
  play.noteOwn()
  wrong.push(...(await unquiet(play)), ...leftovers(play))
  wrong.push(...witness.faults, ...witness.toldTwice().map((key) => `${key} is told twice`))
  wrong.push(
    ...toldOfBudgetTwice(play),
    ...continuedTooOften(play),
    ...untold(play, toldUnasked),
    ...untoldLines(play),
    ...(play.isPrompt ? witness.reportedTooSoon(GAP_MS) : []),
    ...witness.reportedTooOften(MOST_MONITOR_NOTICES),
    ...endedTwice(stage.steps).map((step) => `twice: ${step}`),
  )
  // Runs last, because it launches tasks of its own and ends the instance.
  wrong.push(...(await wrongSlots(play)))
  return wrong
}

/** Returns unfinished tasks, calls of the host, and timers, because there must be none when all has ended. */
async function unquiet({ stage: { host, clock }, tasks, where }: Play): Promise<string[]> {
  // The event stream has a heartbeat, and the manager watches whether it is silent.
  const timers = clock.pending - (where === 'outside' ? 2 : 0)
  const before = host.calls.length
  await clock.advance(60_000)
  const asked = host.calls.slice(before).map(({ method }) => `the host is asked for ${method}`)
  const unfinished = tasks
    .filter((task) => !isEnded(task))
    .map(({ id, status }) => `${id} is still ${status}`)
  return [...unfinished, ...asked, ...(timers > 0 ? [`${timers} timers are left`] : [])]
}

/** Returns open permission requests of ended tasks, wrong records, and activity of old instances. */
function leftovers(play: Play): string[] {
  const { witness, tasks, stage } = play
  const { host } = stage
  const wrong = play.pending.size > 0 ? [`${play.pending.size} calls never came back`] : []
  const asked = host.permissions.filter(({ sessionID }) => !witness.isForeign(sessionID))
  if (play.isRejectionSure && !witness.isBlind)
    wrong.push(...asked.map(({ sessionID }) => `${sessionID} still asks for a permission`))
  for (const { id, sessionID, run, status } of play.isRecordSure ? tasks : []) {
    if (!exists(host, sessionID)) continue
    const { background } = host.session(sessionID).metadata as { background: { run: number; status: string } }
    if (background.run !== run || background.status !== status)
      wrong.push(`${id} is recorded as ${background.status}, and is ${status}`)
  }
  for (const { calls, pendingTimers } of play.old) {
    if (pendingTimers() > 0) wrong.push('an old instance has timers')
    const sent = calls.filter((name) => name === 'prompt' || name === 'statuses')
    wrong.push(...sent.map((name) => `an old instance asks for ${name}`))
  }
  return wrong
}

/** Checks that exactly `LIMITS.total` slots are free, and that a disposed instance leaves no timer. */
async function wrongSlots({ stage: { host, clock, manager } }: Play): Promise<string[]> {
  const parentID = host.createRootSession().id
  host.script = () => new Promise(() => {})
  const found: string[] = []
  for (let count = 0; count <= LIMITS.total; count++) {
    const request = { parentID, agent: 'general', model: 'mock/m3', description: 'probe', prompt: 'probe' }
    const launched = manager.launch(request)
    await clock.advance(400)
    const { id } = await launched
    found.push(`${manager.get(id)?.status} ${manager.placeInQueue(id) ?? ''}`.trim())
  }
  const wrong = found.join() === 'running,running,pending 0' ? [] : [`the slots: ${found.join()}`]
  const disposed = manager.dispose()
  await clock.advance(1000)
  await disposed
  return clock.pending > 0 ? [...wrong, 'timers are left when the instance has ended'] : wrong
}

/**
 * Returns missing, late and superfluous reports of ends, independent of the plugin's own state. Each end must be
 * reported, except those that the parent has read or caused, and those of deleted parents.
 */
function untold(play: Play, toldUnasked: ReadonlyMap<string, unknown>): string[] {
  const told = play.witness.told()
  const wakes = play.history.wake !== 'never'
  return play.tasks.flatMap(({ id, run: runs, parentID }) => {
    if (!exists(play.stage.host, parentID)) return []
    const keys = Array.from({ length: runs }, (_, index) => `${id} ${index + 1}`)
    const owed = keys.filter((key) => !play.read.has(key) && !play.own.has(key))
    const isLeftAlone = !play.disturbed.has(parentID)
    return [
      ...owed.filter((key) => !told.has(key)).map((key) => `${key} is not told`),
      ...owed
        .filter((key) => wakes && isLeftAlone && !toldUnasked.has(key))
        .map((key) => `${key} is told only when the user writes`),
      ...keys
        .filter((key) => isLeftAlone && play.own.has(key) && told.has(key))
        .map((key) => `${key} is told to who has cancelled it`),
    ]
  })
}

/** Returns the commands of which a matching line is not reported, although their end is, or a line that was not printed. */
function untoldLines({ stage: { host }, tasks, witness, read, own, printed }: Play): string[] {
  const told = witness.told()
  return tasks.flatMap(({ id, kind, parentID }) => {
    if (kind !== 'command' || !exists(host, parentID)) return []
    const count = printed.get(id) ?? 0
    const isEndOwed = !read.has(`${id} 1`) && !own.has(`${id} 1`)
    const lines = Array.from({ length: count }, (_, index) => index + 1)
    return [
      ...lines
        .filter((line) => isEndOwed && !told.has(lineKey(id, line)))
        .map((line) => `line ${line} of ${id} is not told`),
      ...(told.has(lineKey(id, count + 1)) ? [`${id} has told a line that it has not printed`] : []),
    ]
  })
}

/** Returns the children whose sessions hold two messages about the same budget. */
function toldOfBudgetTwice({ stage: { host }, tasks }: Play): string[] {
  return tasks.flatMap(({ id, sessionID }) => {
    if (!exists(host, sessionID)) return []
    const ids = host.messagesOf(sessionID).map(({ info }) => info.id)
    const isTwice = ids.some((one, index) => ids.slice(index + 1).some((other) => haveSameKey(one, other)))
    return isTwice ? [`${id} is told twice of one budget`] : []
  })
}

/** Returns the children that restarts have continued more than twice. */
function continuedTooOften({ stage: { host }, tasks }: Play): string[] {
  return tasks.flatMap(({ id, sessionID }) => {
    if (!exists(host, sessionID)) return []
    const prompts = host
      .messagesOf(sessionID)
      .filter(({ parts }) => parts.some((part) => part.type === 'text' && part.text === GO_ON))

    return prompts.length > 2 ? [`restarts have continued ${id} ${prompts.length} times`] : []
  })
}

/** Returns the steps in which a run ends twice, or the next run begins before the one before has ended. */
function endedTwice(steps: readonly string[]): string[] {
  const last = new Map<string, string>()
  return steps.filter((step) => {
    const [, id = '', event = ''] = /^(\w+): (\w+),/.exec(step) ?? []
    const isWrong = (event === 'ended' || event === 'continued') && last.get(id) === event
    if (event === 'recovered') last.set(id, 'ended')
    else if (event === 'ended' || event === 'continued') last.set(id, event)
    return isWrong
  })
}
