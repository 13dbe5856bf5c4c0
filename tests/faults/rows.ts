/** What may go wrong, and what must come of it. Each row is played on the real OpenCode. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault } from '../harness/faulty.ts'
import type { Script } from '../harness/script.ts'
import { RESULT, type Scene, type Seen } from './scene.ts'

export interface Row {
  readonly fault: string
  readonly moment: string
  /** Has the parent launch its task, and brings the fault about. */
  readonly play: (scene: Scene) => Promise<void>
  readonly expected: Seen
  /** Answers for the child; otherwise it answers when the scene says so. */
  readonly child?: () => Script
}

/** A notice of which nothing was heard would have been sent again by then. */
const SENT_AGAIN_MS = 6000

const WOKEN = { told: 'completed', times: 1, how: 'woken', left: 'nothing' } as const
const WITH_NEXT = { ...WOKEN, how: 'with the next message' } as const
const CUT_OFF = { ...WITH_NEXT, told: 'failed: OpenCode stopped before the task had ended' } as const
const NOT_STARTED = { ...WITH_NEXT, told: 'failed: OpenCode stopped before the task had started' } as const
const STOPPED = { ...WOKEN, told: 'cancelled: user' } as const

/** Bash is asked for, and what becomes of that is told. */
const remover =
  (): Script =>
  ({ messages }) =>
    messages.at(-1)?.role === 'tool'
      ? { text: RESULT }
      : { tools: [{ name: 'bash', args: { command: 'rm -f nothing.txt', description: 'Removes' } }] }

async function launchAndAnswer(scene: Scene): Promise<void> {
  await scene.launch()
  scene.answer()
  await scene.parent.waitForNotice(RESULT)
}

/**
 * The fault lasts from before the launch until the notice came.
 *
 * @param patienceMs how long it is watched then
 */
const during =
  (fault: Fault, patienceMs = 0) =>
  async (scene: Scene) => {
    scene.fault(fault)
    await scene.launchOnly()
    await scene.childIsAtWork()
    await scene.parent.quietBesidesChildren()
    scene.answer()
    await scene.parent.waitForNotice(RESULT, { timeoutMs: 40_000 })
    await sleep(patienceMs)
    scene.fault('none')
  }

const processRows: readonly Row[] = [
  {
    fault: 'kill -9',
    moment: "the child's session exists, and has no prompt yet",
    async play(scene) {
      scene.fault('prompt hangs')
      await scene.launchOnly()
      await scene.stage.restart('SIGKILL')
      scene.fault('none')
    },
    expected: NOT_STARTED,
  },
  {
    fault: 'kill -9',
    moment: 'the task is queued',
    async play(scene) {
      await scene.parent.launch('in the way', 'in the way too')
      await scene.launchOnly()
      await scene.stage.restart('SIGKILL')
    },
    expected: NOT_STARTED,
  },
  {
    fault: 'kill -9',
    moment: 'the child has its prompt',
    async play(scene) {
      const isStored = scene.promptIsStored()
      await scene.launchOnly()
      await isStored
      await scene.stage.restart('SIGKILL')
    },
    expected: CUT_OFF,
  },
  {
    fault: 'kill -9',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.stage.restart('SIGKILL')
    },
    expected: CUT_OFF,
  },
  {
    fault: 'kill -9',
    moment: 'the child waits for a permission',
    child: remover,
    async play(scene) {
      await scene.launch()
      await scene.permissionIsAsked()
      await scene.stage.restart('SIGKILL')
    },
    expected: CUT_OFF,
  },
  {
    fault: 'kill -9',
    moment: 'the child has finished, the notice is not sent',
    async play(scene) {
      await scene.launch()
      scene.fault('notice hangs')
      scene.answer()
      await scene.childHasFinished()
      await scene.stage.restart('SIGKILL')
      scene.fault('none')
    },
    expected: WITH_NEXT,
  },
  {
    fault: 'kill -9',
    moment: 'the notice is stored, and not answered',
    async play(scene) {
      await scene.launch()
      const isStored = scene.noticeIsStored()
      scene.answer()
      await isStored
      await scene.stage.restart('SIGKILL')
    },
    expected: WOKEN,
  },
  {
    fault: 'kill -9',
    moment: 'the notice is answered',
    async play(scene) {
      await launchAndAnswer(scene)
      await scene.parent.quiet()
      await scene.stage.restart('SIGKILL')
    },
    expected: WOKEN,
  },
  {
    fault: 'kill -9',
    moment: 'the user has just deleted the child',
    async play(scene) {
      await scene.launch()
      await scene.abort(scene.parent.id)
      await scene.delete(await scene.childIsAtWork())
      await scene.stage.restart('SIGKILL')
    },
    expected: { told: 'nothing', times: 0, how: '–', left: 'nothing' },
  },
  {
    fault: 'kill -9',
    moment: 'the child has finished, in an interrupted parent (ESC)',
    async play(scene) {
      await scene.launch()
      await scene.abort(scene.parent.id)
      await sleep(500)
      scene.answer()
      await scene.childHasFinished()
      await scene.stage.restart('SIGKILL')
    },
    expected: WITH_NEXT,
  },
  {
    fault: 'kill -9',
    moment: 'the child works, and the parent has undone its launch',
    async play(scene) {
      await scene.launch()
      await scene.undo(scene.parent.id, 'CALL')
      await scene.stage.restart('SIGKILL')
    },
    expected: CUT_OFF,
  },
  {
    fault: 'kill -9',
    moment: 'the notice is answered, and no record could be written',
    async play(scene) {
      await during('record fails')(scene)
      await scene.stage.restart('SIGKILL')
    },
    expected: WOKEN,
  },
  {
    fault: 'SIGTERM',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.stage.restart('SIGTERM')
    },
    expected: CUT_OFF,
  },
  {
    fault: 'SIGTERM',
    moment: 'the child has finished, the notice is not sent',
    async play(scene) {
      await scene.launch()
      scene.fault('notice hangs')
      scene.answer()
      await scene.childHasFinished()
      await scene.stage.restart('SIGTERM')
      scene.fault('none')
    },
    expected: WITH_NEXT,
  },
  {
    fault: 'the instance is disposed, as by a change of the configuration',
    moment: 'the task is queued',
    async play(scene) {
      await scene.parent.launch('in the way', 'in the way too')
      await scene.launchOnly()
      await scene.parent.quietBesidesChildren()
      await scene.disposeInstance()
    },
    expected: NOT_STARTED,
  },
  {
    fault: 'the instance is disposed, as by a change of the configuration',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.disposeInstance()
    },
    expected: CUT_OFF,
  },
]

const callRows: readonly Row[] = [
  {
    fault: 'nothing can be written to the disk',
    moment: 'the child is to end',
    async play(scene) {
      await scene.launch()
      const free = scene.fillDisk()
      scene.answer()
      await sleep(3000)
      free()
      await scene.parent.waitForNotice(scene.id, { timeoutMs: 40_000 })
    },
    expected: {
      ...WOKEN,
      told: 'failed: the session was given its prompt but did not finish an answer, and was idle for 20 s',
    },
  },
  {
    fault: 'nothing can be written to the disk',
    moment: 'the notice is to be sent',
    async play(scene) {
      await scene.launch()
      scene.fault('notice is refused')
      scene.answer()
      await scene.childHasFinished()
      const free = scene.fillDisk()
      scene.fault('none')
      await sleep(5000)
      free()
      await scene.parent.waitForNotice(RESULT, { timeoutMs: 40_000 })
      await sleep(SENT_AGAIN_MS)
    },
    expected: WOKEN,
  },
  { fault: 'the status call fails', moment: 'all the time', play: during('status fails'), expected: WOKEN },
  {
    fault: 'the status call is never answered',
    moment: 'all the time',
    play: during('status hangs'),
    expected: WOKEN,
  },
  {
    fault: 'the record cannot be written',
    moment: 'all the time',
    play: during('record fails'),
    expected: WOKEN,
  },
  {
    fault: "the child's prompt is refused",
    moment: 'once',
    async play(scene) {
      scene.fault('prompt is refused')
      await scene.launchOnly()
      await scene.parent.waitForNotice(scene.id)
      scene.fault('none')
    },
    expected: { ...WOKEN, told: 'failed: OpenCode refused session.promptAsync: Expected array, got 7' },
  },
  {
    fault: "the child's prompt is taken over, and never stored",
    moment: 'once',
    async play(scene) {
      scene.fault('prompt is swallowed')
      await scene.launchOnly()
      await scene.parent.waitForNotice(scene.id)
      scene.fault('none')
    },
    expected: { ...WOKEN, told: 'failed: Error: not today' },
  },
  {
    fault: "the child's prompt never reaches the host",
    moment: 'once',
    play: during('prompt hangs'),
    expected: WOKEN,
  },
  {
    fault: "the answer to the child's prompt is lost",
    moment: 'once',
    play: during('prompt loses its answer'),
    expected: WOKEN,
  },
  {
    fault: 'the notice is refused',
    moment: 'once',
    play: during('notice is refused', SENT_AGAIN_MS),
    expected: WOKEN,
  },
  {
    fault: 'the notice is taken over, and never stored',
    moment: 'once',
    play: during('notice is swallowed', SENT_AGAIN_MS),
    expected: WOKEN,
  },
  {
    fault: 'the notice never reaches the host',
    moment: 'once',
    play: during('notice hangs', SENT_AGAIN_MS),
    expected: WOKEN,
  },
  {
    fault: 'the answer to the notice is lost',
    moment: 'once',
    play: during('notice loses its answer', SENT_AGAIN_MS),
    expected: WOKEN,
  },
  {
    fault: 'events are lost',
    moment: 'all the time',
    play: during('events are lost', SENT_AGAIN_MS),
    expected: WOKEN,
  },
  { fault: 'events come twice', moment: 'all the time', play: during('events are doubled'), expected: WOKEN },
  {
    fault: 'events come late and out of order',
    moment: 'all the time',
    play: during('events are out of order'),
    expected: WOKEN,
  },
]

const childRows: readonly Row[] = [
  {
    fault: 'the child is aborted by the user',
    moment: 'it works',
    async play(scene) {
      await scene.launch()
      await scene.abort(await scene.childIsAtWork())
    },
    expected: STOPPED,
  },
  {
    fault: 'the child is deleted by the user',
    moment: 'it works',
    async play(scene) {
      await scene.launch()
      await scene.delete(await scene.childIsAtWork())
    },
    expected: STOPPED,
  },
  {
    fault: 'the child is deleted by the user',
    moment: 'it has finished, and its end was told',
    async play(scene) {
      await launchAndAnswer(scene)
      await scene.delete(await scene.childIsAtWork())
    },
    expected: WOKEN,
  },
  {
    fault: "the child's messages are undone by the user",
    moment: 'it has finished, and its end was told',
    async play(scene) {
      await launchAndAnswer(scene)
      await scene.undo(await scene.childIsAtWork(), 'work')
    },
    expected: WOKEN,
  },
  {
    fault: "the child's context is full, and summed up by the host",
    moment: 'it works',
    child() {
      let isFull = true
      return ({ tools }) => {
        if (tools.length === 0) return { text: 'A summary.' }
        const reply = isFull ? { status: 400, text: 'context length exceeded' } : { text: RESULT }
        isFull = false
        return reply
      }
    },
    async play(scene) {
      await scene.launchOnly()
      await scene.parent.waitForNotice(RESULT)
    },
    expected: WOKEN,
  },
  {
    fault: 'the user writes in the child',
    moment: 'it works',
    async play(scene) {
      await scene.launch()
      await scene.stage.server.prompt(await scene.childIsAtWork(), 'by the way')
      scene.answer()
      await scene.parent.waitForNotice(RESULT)
    },
    expected: WOKEN,
  },
  {
    fault: 'the user rejects what the child asks permission for',
    moment: 'it waits',
    child: remover,
    async play(scene) {
      await scene.launch()
      await scene.rejectPermission()
    },
    expected: { ...WOKEN, told: 'failed: The user rejected permission to use this specific tool call.' },
  },
  {
    fault: 'the child is cancelled by its parent',
    moment: 'it waits for a permission',
    child: remover,
    async play(scene) {
      await scene.launch()
      await scene.permissionIsAsked()
      await scene.parent.call([{ name: 'background_cancel', args: { task_id: scene.id } }])
    },
    expected: { told: 'nothing', times: 0, how: '–', left: 'nothing' },
  },
]

const parentRows: readonly Row[] = [
  {
    fault: 'the parent is interrupted (ESC)',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.abort(scene.parent.id)
      await sleep(500)
      scene.answer()
    },
    expected: WITH_NEXT,
  },
  {
    fault: 'the parent is interrupted (ESC)',
    moment: 'the notice was just stored',
    async play(scene) {
      await scene.launch()
      const isStored = scene.noticeIsStored()
      scene.answer()
      await isStored
      await scene.abort(scene.parent.id)
    },
    expected: WOKEN,
  },
  {
    fault: 'the parent undoes the launch',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.undo(scene.parent.id, 'CALL')
      scene.answer()
    },
    expected: WITH_NEXT,
  },
  {
    fault: 'the parent is archived',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.archive(scene.parent.id)
      scene.answer()
    },
    expected: WITH_NEXT,
  },
  {
    fault: 'the parent is summed up (compaction)',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.compact(scene.parent.id)
      scene.answer()
      await scene.parent.waitForNotice(RESULT)
    },
    expected: WOKEN,
  },
  {
    fault: 'the parent is forked',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      const forkID = await scene.fork(scene.parent.id)
      scene.answer()
      await scene.parent.waitForNotice(RESULT)
      scene.expectUntouched(forkID)
    },
    expected: WOKEN,
  },
  {
    fault: 'the parent is deleted',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.delete(scene.parent.id)
    },
    expected: { told: 'nobody is left to tell', times: 0, how: '–', left: 'nothing' },
  },
]

export const GROUPS = {
  'The process': processRows,
  'Calls and events': callRows,
  'The child session': childRows,
  'The parent session': parentRows,
} satisfies Readonly<Record<string, readonly Row[]>>
