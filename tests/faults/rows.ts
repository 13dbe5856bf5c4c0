/** Lists the faults, the moment in which each occurs, and its expected outcome. The real OpenCode plays each row. */
import type { Fault } from '../harness/inside/protocol.ts'
import type { Reply, Script } from '../harness/script.ts'
import { backgroundTask } from '../harness/stage.ts'
import { ONE_AT_A_TIME, RESULT, SESSION_CALLS, type Scene, type Seen } from './scene.ts'

export interface Row {
  readonly fault: string
  readonly moment: string
  /** Launches the task, and resolves in the moment. */
  readonly reach: Act
  /** Causes the fault; rows whose fault hits the process can share it. */
  readonly bring: Act
  /** The steps after the fault. */
  readonly after: Act
  readonly expected: Seen
  /** Answers for the child; without it, the scene releases the child's answer. */
  readonly child?: () => Script
  /** The moment ends by itself soon, so the fault must follow at once. */
  readonly isFleeting: boolean
}

export type Act = (scene: Scene) => Promise<unknown>

/** An act, with its words for the table. */
interface Named {
  readonly words: string
  readonly act: Act
}

/** The state of the task or its parent at the fault; `act` launches the task and resolves in that state. */
interface Moment extends Named {
  readonly child?: () => Script
  readonly isFleeting?: true
}

const WOKEN = { told: 'completed', times: 1, how: 'woken', left: 'nothing' } as const
const WITH_NEXT = { ...WOKEN, how: 'with the next message' } as const
const CUT_OFF = { ...WITH_NEXT, told: 'failed: OpenCode stopped before the task had ended' } as const
const NOT_STARTED = { ...WITH_NEXT, told: 'failed: OpenCode stopped before the task had started' } as const
const STOPPED = { ...WOKEN, told: 'cancelled: user' } as const
const UNTOLD = { told: 'nothing', times: 0, how: '–', left: 'nothing' } as const
const NOBODY = { ...UNTOLD, told: 'the parent is gone' } as const

/** The child calls a command that needs a permission, and answers with the result once it is granted. */
const remover =
  (): Script =>
  ({ messages }) =>
    messages.at(-1)?.role === 'tool'
      ? { text: RESULT }
      : { tools: [{ name: 'bash', args: { command: 'rm -f nothing.txt', description: 'Removes' } }] }

/** The child's context overflows once. */
const overflowing = (): Script => {
  let isFull = true
  return ({ tools }) => {
    if (tools.length === 0) return { text: 'A summary.' }
    const reply = isFull ? { status: 400, text: 'context length exceeded' } : { text: RESULT }
    isFull = false
    return reply
  }
}

const calling = (count: number): Reply => ({
  text: 'so far',
  // Each is another one, because OpenCode asks for a permission at the third equal call of a step.
  tools: Array.from({ length: count }, (_, index) => ({
    name: 'glob',
    args: { pattern: `nothing ${index}` },
  })),
})

/** The child makes these tool calls once that many children of its parent are at work, and then is silent. */
const spending = (calls: number, children: number) => (): Script => {
  let asked = 0
  let begin = (): void => {}
  const isTogether = new Promise<void>((resolve) => (begin = resolve))
  return async ({ messages }) => {
    if (messages.some(({ role }) => role === 'tool')) return new Promise(() => {})
    asked += 1
    if (asked === children) begin()
    await isTogether
    return calling(calls)
  }
}

/** Runs acts one after another. */
const inTurn =
  (...acts: readonly Act[]): Act =>
  async (scene) => {
    for (const act of acts) await act(scene)
  }

const launch: Act = (scene) => scene.launch()
const launchOnly: Act = (scene) => scene.launchOnly()
const answer: Act = (scene) => Promise.resolve(scene.answer())
const isTold: Act = (scene) => scene.isTold(RESULT)
const endIsTold: Act = (scene) => scene.isTold(scene.id)
const finished: Act = (scene) => scene.childHasFinished()
const isIdle: Act = (scene) => scene.childIsIdle()
const set =
  (fault: Fault): Act =>
  (scene) =>
    scene.stage.fault(fault)

const killed: Named = { words: 'kill -9', act: ({ stage }) => stage.restart('SIGKILL') }
const terminated: Named = { words: 'SIGTERM', act: ({ stage }) => stage.restart('SIGTERM') }
const disposed: Named = {
  words: 'the instance is disposed, as by a change of the configuration',
  act: (scene) => scene.disposeInstance(),
}
const abortParent: Act = (scene) => scene.abort(scene.parent.id)
const interrupted: Named = { words: 'the parent is interrupted (ESC)', act: abortParent }
const deleteChild: Act = async (scene) => scene.delete(await scene.childIsAtWork())
const childDeleted: Named = { words: 'the child is deleted by the user', act: deleteChild }

const works: Moment = { words: 'the child works', act: launch }
const itWorks: Moment = { words: 'it works', act: launch }
const queued: Moment = {
  words: 'the task is queued',
  act: inTurn(
    (scene) => scene.parent.call([backgroundTask('in the way', ONE_AT_A_TIME)]),
    (scene) => scene.launchOnly(ONE_AT_A_TIME),
    (scene) => scene.parent.quietBesidesChildren(),
  ),
}
const waiting: Moment = {
  words: 'the task waits for another (`after`)',
  act: inTurn(
    (scene) => scene.launch(),
    (scene) => scene.launchOnly({ after: scene.id }),
    (scene) => scene.parent.quietBesidesChildren(),
  ),
}
const finishedUnsent: Moment = {
  words: 'the child has finished, the notice is not sent',
  act: inTurn(launch, set('notice hangs'), answer, finished, set('none')),
}
const noticeStored = (words: string): Moment => ({
  words,
  isFleeting: true,
  act: async (scene) => {
    await scene.launch()
    const isStored = scene.noticeIsStored()
    scene.answer()
    await isStored
  },
})
const endTold: Moment = {
  words: 'it has finished, and the parent was notified',
  act: inTurn(launch, answer, isTold),
}

/** Builds a row whose fault occurs in the moment; `after` holds the steps that follow. */
function row({ words, act }: Named, moment: Moment, expected: Seen, ...after: readonly Act[]): Row {
  const { child, isFleeting = false } = moment
  return {
    fault: words,
    moment: moment.words,
    reach: moment.act,
    bring: act,
    after: inTurn(...after),
    expected,
    isFleeting,
    ...(child && { child }),
  }
}

/** Builds a row whose fault lasts from before the launch until the end is reported and no resend can follow. */
function lasting(fault: Fault, words: string, moment: string, told: Partial<Seen> = {}): Row {
  const isAnswered = told.told === undefined
  const meanwhile = isAnswered
    ? [
        (scene: Scene) => scene.isAtWork(),
        (scene: Scene) => scene.parent.quietBesidesChildren(),
        answer,
        isTold,
      ]
    : [endIsTold]
  const after = inTurn(launchOnly, ...meanwhile, (scene) => scene.pass(), set('none'))
  const expected = { ...WOKEN, ...told }
  return { fault: words, moment, reach: inTurn(), bring: set(fault), after, expected, isFleeting: false }
}

const processRows: readonly Row[] = [
  // First, because it advances time, and then OpenCode would resend a notice that a row below holds.
  row(
    killed,
    {
      words: 'the notice is answered, and no record could be written',
      act: inTurn(set('record fails'), launch, answer, isTold, (scene) => scene.pass(), set('none')),
    },
    WOKEN,
  ),
  row(killed, queued, NOT_STARTED),
  row(killed, waiting, NOT_STARTED),
  row(
    killed,
    {
      words: 'the child has its prompt',
      isFleeting: true,
      async act(scene) {
        const isStored = scene.promptIsStored()
        await scene.launchOnly()
        await isStored
      },
    },
    CUT_OFF,
  ),
  row(killed, works, CUT_OFF),
  row(
    killed,
    {
      words: 'the child waits for a permission',
      act: inTurn(launch, (scene) => scene.permissionIsAsked()),
      child: remover,
    },
    CUT_OFF,
  ),
  row(
    killed,
    {
      words: 'the child was told that its budget is nearly spent',
      act: inTurn(
        (scene) => scene.launchOnly({ budget: { toolCalls: 5 } }),
        (scene) => scene.childIsToldOfBudget(),
        (scene) => scene.parent.quietBesidesChildren(),
      ),
      child: spending(4, 1),
    },
    CUT_OFF,
  ),
  row(killed, noticeStored('the notice is stored, and not answered'), WOKEN),
  row(
    killed,
    { words: 'the notice is answered', act: inTurn(launch, answer, isTold, (scene) => scene.parent.quiet()) },
    WOKEN,
  ),
  row(
    killed,
    {
      words: 'the user has just deleted the child',
      isFleeting: true,
      act: inTurn(launch, abortParent, deleteChild),
    },
    UNTOLD,
  ),
  row(
    killed,
    {
      words: 'the child has finished, in an interrupted parent (ESC)',
      act: inTurn(launch, abortParent, (scene) => scene.stage.settle(), answer, finished),
    },
    WITH_NEXT,
  ),
  row(
    killed,
    {
      words: 'the child works, and the parent has undone its launch',
      act: inTurn(launch, (scene) => scene.undo(scene.parent.id, 'CALL')),
    },
    CUT_OFF,
  ),
  row(
    killed,
    {
      // A hanging call times out after a while, and is sent again.
      isFleeting: true,
      words: "the child's session exists, and has no prompt yet",
      act: inTurn(set('prompt hangs'), launchOnly, (scene) => scene.stage.settle(), set('none')),
    },
    NOT_STARTED,
  ),
  row(killed, finishedUnsent, WITH_NEXT),
  row(terminated, works, CUT_OFF),
  row(terminated, finishedUnsent, WITH_NEXT),
  row(disposed, queued, NOT_STARTED),
  row(disposed, works, CUT_OFF),
]

const diskFull = (then: Act): Named => ({
  words: 'OpenCode cannot write to the disk',
  async act(scene) {
    const free = scene.fillDisk()
    await then(scene)
    free()
  },
})

const callRows: readonly Row[] = [
  row(
    diskFull(inTurn(answer, isIdle)),
    { words: 'the child is about to end', act: launch },
    {
      ...WOKEN,
      told: 'failed: the session received its prompt but did not finish an answer, and was idle for 20 s',
    },
    endIsTold,
  ),
  row(
    diskFull(inTurn(set('none'), (scene) => scene.pass())),
    {
      words: 'the notice is about to be sent',
      act: inTurn(launch, set('notice is refused'), answer, finished),
    },
    WOKEN,
    isTold,
    (scene) => scene.pass(),
  ),
  lasting('status fails', 'the status call fails', 'all the time'),
  lasting('status hangs', 'the status call is never answered', 'all the time'),
  lasting('record fails', 'the record cannot be written', 'all the time'),
  lasting('prompt is refused', "the child's prompt is refused", 'once', {
    told: 'failed: OpenCode refused session.promptAsync: Expected array, got 7',
  }),
  lasting('prompt is swallowed', "the child's prompt is accepted, and never stored", 'once', {
    told: 'failed: Error: not today',
  }),
  lasting('prompt hangs', "the child's prompt never reaches the host", 'once'),
  lasting('prompt loses its answer', "the answer to the child's prompt is lost", 'once'),
  lasting('notice is refused', 'the notice is refused', 'once'),
  lasting('notice is swallowed', 'the notice is accepted, and never stored', 'once'),
  lasting('notice hangs', 'the notice never reaches the host', 'once'),
  lasting('notice loses its answer', 'the answer to the notice is lost', 'once'),
  lasting('events are lost', 'events are lost', 'all the time'),
  lasting('events are doubled', 'events arrive twice', 'all the time'),
  lasting('events are out of order', 'events arrive late and out of order', 'all the time'),
]

const childRows: readonly Row[] = [
  row(
    {
      words: 'the child is aborted by the user',
      act: async (scene) => scene.abort(await scene.childIsAtWork()),
    },
    itWorks,
    STOPPED,
  ),
  row(childDeleted, itWorks, STOPPED),
  row(childDeleted, endTold, WOKEN),
  row(
    {
      words: "the child's messages are undone by the user",
      act: async (scene) => scene.undo(await scene.childIsAtWork(), 'work'),
    },
    endTold,
    WOKEN,
  ),
  row(
    { words: "the child's context is full, and summarised by the host", act: isTold },
    { words: 'it works', act: launchOnly, child: overflowing },
    WOKEN,
  ),
  row(
    { words: "it and another child spend their session's budget in the same tick", act: endIsTold },
    {
      words: 'it works',
      act: inTurn((scene) => scene.parent.call([backgroundTask('as well')]), launchOnly),
      child: spending(SESSION_CALLS / 2, 2),
    },
    {
      ...WOKEN,
      told: `failed: stopped: the tasks of its session have spent the budget of the session, ${SESSION_CALLS} tool calls of ${SESSION_CALLS} tool calls. Only the user can raise it (option budget.session)`,
    },
  ),
  row(
    {
      words: 'the user writes in the child',
      act: async (scene) => scene.stage.server.prompt(await scene.childIsAtWork(), 'by the way'),
    },
    itWorks,
    WOKEN,
    answer,
    isTold,
  ),
  row(
    {
      words: "the user rejects the child's permission request",
      act: (scene) => scene.rejectPermission(),
    },
    { words: 'it waits', act: launch, child: remover },
    { ...WOKEN, told: 'failed: The user rejected permission to use this specific tool call.' },
  ),
  row(
    {
      words: 'the child is cancelled by its parent',
      act: (scene) => scene.parent.call([{ name: 'background_cancel', args: { task_id: scene.id } }]),
    },
    {
      words: 'it waits for a permission',
      act: inTurn(launch, (scene) => scene.permissionIsAsked()),
      child: remover,
    },
    UNTOLD,
  ),
]

const parentRows: readonly Row[] = [
  row(interrupted, works, WITH_NEXT, (scene) => scene.stage.settle(), answer, isIdle),
  row(
    interrupted,
    { words: 'the child works, and ends with a question', act: launch },
    WITH_NEXT,
    (scene) => scene.stage.settle(),
    (scene) => Promise.resolve(scene.answer({ text: '<question>Which one?</question>' })),
    isIdle,
  ),
  row(interrupted, noticeStored('the notice was just stored'), WOKEN),
  row(
    { words: 'the parent undoes the launch', act: (scene) => scene.undo(scene.parent.id, 'CALL') },
    works,
    WITH_NEXT,
    answer,
    isIdle,
  ),
  row(
    { words: 'the parent is archived', act: (scene) => scene.archive(scene.parent.id) },
    works,
    WITH_NEXT,
    answer,
    isIdle,
  ),
  row(
    { words: 'the parent is summarised (compaction)', act: (scene) => scene.compact(scene.parent.id) },
    works,
    WOKEN,
    answer,
    isTold,
  ),
  row(
    { words: 'the parent is forked', act: (scene) => scene.fork(scene.parent.id) },
    works,
    WOKEN,
    answer,
    isTold,
    (scene) => scene.expectForkUntouched(),
  ),
  row({ words: 'the parent is deleted', act: (scene) => scene.delete(scene.parent.id) }, works, NOBODY),
]

/** 10,000 lines a second for 10 s. They are long, so that a server that held them would grow by more than it does by itself. */
const flood = (seconds: number): string =>
  `l=FAIL$(printf %01000d 0); i=0; while [ $i -lt ${seconds * 10} ]; do yes $l | head -n 1000; i=$((i+1)); sleep 0.1; done`
const FLOOD_BYTES = 100_000 * ('FAIL'.length + 1000 + '\n'.length)

const commandIsTold: Act = ({ id, parent }) =>
  parent.waitForNotice(`id="${id}" kind="command" status="completed"`)

const monitorRows: readonly Row[] = [
  row(
    { words: '10,000 matching lines a second for 10 s', act: (scene) => scene.launchMonitor(flood(10)) },
    {
      words: 'a monitor begins',
      act: inTurn(
        // The first monitor, the turns and the room for garbage cost the server some memory.
        (scene) => scene.launchMonitor(flood(1)),
        commandIsTold,
        (scene) => scene.quiet(),
        (scene) => scene.rememberMemory(),
      ),
    },
    // The first match, and the end.
    { ...WOKEN, told: 'running', times: 2 },
    // No time is let pass, so that the gap is not over before the end.
    commandIsTold,
    (scene) => scene.expectMemoryGrowthBelow(FLOOD_BYTES / 2),
  ),
  row(
    killed,
    {
      words: 'a monitor has reported a line, and found one more',
      act: inTurn(
        (scene) => scene.addLine('monitored', 'FAIL 1'),
        (scene) => scene.launchMonitor('tail -n +1 -f monitored'),
        (scene) => scene.parent.waitForNotice('FAIL 1'),
        (scene) => scene.parent.quietBesidesChildren(),
        (scene) => scene.addLine('monitored', 'FAIL 2'),
        (scene) => scene.stage.settle(),
      ),
    },
    { ...WOKEN, told: 'running', times: 2, left: '1 unfinished' },
    (scene) => scene.parent.say('are you there'),
    (scene) => scene.isTold('FAIL 2'),
  ),
]

export const GROUPS = {
  'The process': processRows,
  'Calls and events': callRows,
  'The child session': childRows,
  'The parent session': parentRows,
  'A monitor': monitorRows,
} satisfies Readonly<Record<string, readonly Row[]>>
