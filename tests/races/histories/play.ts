/** Plays a history: each step is an act of a user, a parent's model or the host, or a fault. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BackgroundManager } from '../../../src/manager.ts'
import type { OutputOptions } from '../../../src/task-reader.ts'
import { HostError, type Event } from '../../../src/host/opencode.ts'
import { dependenciesOf } from '../../../src/task/dependency.ts'
import { isEnded, questionOf, type Task } from '../../../src/task/task.ts'
import { ToolError } from '../../../src/tool-error.ts'
import { createFakeStage, NO_MACHINE, type FakeStage, type OldInstance } from '../../harness/fake-stage.ts'
import type { PlayedProcesses } from '../../harness/played-processes.ts'
import type { ModelRequest, Reply, ToolCall } from '../../harness/script.ts'
import { PARENTS, TASKS, type History, type Step } from './steps.ts'
import { exists, Witness } from './witness.ts'

export const LIMITS = { total: 2, model: 'm2' }
/** The shortest time between two notices of matching lines. */
export const GAP_MS = 1000
const AWHILE_MS = 10
const LONG_CUT_MS = 3000
/** Longer than all calls and debounces of what follows a step. */
const SOON_MS = 3000

/** Whether the manager is inside of OpenCode as a plugin, or in another process. */
export type Where = 'inside' | 'outside'

/** Steps that the plugin cannot know of when their event is lost. */
const PUTS_AWAY: ReadonlySet<string> = new Set(['undo', 'redo', 'archive', 'unarchive'])

/** Steps in the session of an agent. */
const IN_A_CHILD: ReadonlySet<string> = new Set(['typeInChild', 'abortChild', 'deleteChild'])

const REPLIES: Record<Extract<Step, { type: 'answer' }>['how'], Reply> = {
  text: { text: 'the result' },
  asks: { text: '<question>Which one?</question>' },
  bad: { status: 400, text: 'bad' },
  busy: { status: 429, text: 'overloaded', headers: { 'retry-after': '1' } },
  tool: { text: 'I clean up.', tools: [{ name: 'bash', args: {} }] },
  empty: { text: '' },
}

export class Play {
  readonly stage: FakeStage
  readonly witness: Witness
  readonly parents: readonly string[]
  /** `id run` of ends that a stored tool call of the parent has returned: they need no notice. */
  readonly read = new Set<string>()
  /** `id run` of ends that the parent itself has caused. */
  readonly own = new Set<string>()
  /** Parents that the plugin may have had a reason not to wake. */
  readonly disturbed = new Set<string>()
  /** Instances that have ended, other than by a crash. */
  readonly old: OldInstance[] = []
  /** Tool calls that have not returned. */
  pending = new Set<Promise<void>>()
  /** Whether nothing has prevented the newest records. */
  isRecordSure = true
  /** Whether nothing has prevented the rejection of permission requests. */
  isRejectionSure = true
  /** Whether nothing has delayed a notice: no fault, restart or cut. */
  isPrompt = true
  /** How many matching lines each command has printed, by task id. */
  readonly printed = new Map<string, number>()
  readonly history: History
  readonly where: Where
  readonly #ids: string[] = []
  /** The task that each follower waits for, by the session of the follower. */
  readonly #awaited = new Map<string, string>()
  /** The tool call that a parent's model makes upon the next message of the user. */
  readonly #calls = new Map<string, ToolCall>()
  /** Sessions that have lost an event since their last idle event. */
  readonly #gaps = new Set<string>()
  /** The user's newest message in each parent. */
  readonly #written = new Map<string, string>()
  /** Resolves after the last step. */
  readonly #isOver: Promise<void>
  #setOver = (): void => {}
  readonly #processes: PlayedProcesses
  readonly #directory = mkdtempSync(join(tmpdir(), 'histories-'))
  /** The task id of each monitored command, '' during its launch. */
  readonly #monitorIDs = new Map<string, string>()
  #launches = 0
  #prompts = 0

  /** @param processesAt makes the processes of the commands, on the clock of the history */
  constructor(history: History, where: Where, processesAt: (now: () => number) => PlayedProcesses) {
    this.history = history
    this.where = where
    this.#isOver = new Promise((resolve) => {
      this.#setOver = resolve
    })
    const {
      latencies,
      wake,
      onInterrupt,
      timeoutMs,
      permissionTimeoutMs,
      sessionCalls = 0,
      afterRestart = 'tell',
    } = history
    this.stage = createFakeStage(
      {
        concurrency: { total: LIMITS.total, models: { [`mock/${LIMITS.model}`]: 1 } },
        // Outside of OpenCode, nothing tells a parent that may not be woken.
        notify: {
          wake: wake === 'never' && where === 'outside' ? 'each' : wake,
          monitorGapMs: GAP_MS,
        },
        onInterrupt,
        startTimeoutMs: 20_000,
        timeoutMs,
        permissionTimeoutMs,
        afterRestart,
        budget: { session: { toolCalls: sessionCalls } },
      },
      { isOutside: where === 'outside', machine: { ...NO_MACHINE, root: this.#directory, shell: '/bin/sh' } },
    )
    const { host, clock, parentID } = this.stage
    this.#processes = processesAt(() => clock.now())
    this.parents = [parentID, ...Array.from({ length: PARENTS - 1 }, () => host.createRootSession().id)]
    let calls = 0
    host.latencyMs = () => latencies[calls++ % latencies.length] ?? 0
    host.onToolStored = ({ backgroundRead }) => {
      if (typeof backgroundRead === 'string') this.read.add(backgroundRead.split(' ').slice(0, 2).join(' '))
    }
    host.runTool = async (_, sessionID) => {
      await host.needPermission(sessionID, 'bash', 'rm x')
      return 'removed'
    }
    const { script } = host
    host.script = async (request) => {
      if (request.parentSessionID !== undefined) this.#checkResults(request)
      if (request.parentSessionID !== undefined)
        return request.messages.at(-1)?.role === 'tool' ? { text: 'went on' } : script(request)
      // The parent's model takes a while, so that other steps happen meanwhile.
      const ms = host.latencyMs() * 10
      if (ms > 0) await new Promise<void>((resolve) => clock.after(ms, resolve))
      const asked = request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
      const call = request.messages.at(-1)?.role === 'user' && this.#calls.get(request.sessionID)
      if (call) {
        this.#calls.delete(request.sessionID)
        return { tools: [call] }
      }
      if (asked.startsWith('occupy')) await this.#isOver
      return asked.startsWith('fail') ? { status: 400, text: 'bad' } : { text: 'Noted.' }
    }
    this.witness = new Witness(host, clock, LIMITS)
  }

  /** All tasks that the plugin knows. */
  get tasks(): readonly Task[] {
    return this.#tasksOf(this.stage.manager)
  }

  /** Resolves when the manager observes events. */
  async begin(): Promise<void> {
    const { clock, manager } = this.stage
    await manager.sessionBudget('')
    if (this.where === 'inside') return
    const following = manager.follow().then(() => true)
    const passed = (): Promise<boolean> => clock.advance(1).then(() => false)
    let isFollowing = false
    while (!isFollowing) isFollowing = await Promise.race([following, passed()])
  }

  async take(step: Step): Promise<void> {
    if ('task' in step) await this.#takeOfTask(step)
    else if ('monitor' in step) await this.#takeOfCommand(step)
    else if ('parent' in step) await this.#takeOfParent(step)
    else if (this.where === 'inside') await this.#takeOfHost(step)
    else await this.#takeOfServer(step)
    // A new instance loads what counts budgets, which takes longer than a settled clock waits.
    await this.stage.manager.sessionBudget('')
    await this.stage.clock.advance(0)
    this.noteOwn()
  }

  /** Ends all faults, and answers all open requests. */
  settle(): void {
    const { stage } = this
    const { host } = stage
    this.#disturb(0, [])
    host.clearFaults()
    host.isAway = false
    stage.answerAll()
    this.#setOver()
    this.#processes.exitAll()
    host.runTool = () => 'removed'
    for (const { id, sessionID } of host.permissions.slice())
      if (host.isBusy(sessionID)) host.replyPermission(id, 'once')
  }

  /** Removes the files of the commands. */
  close(): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** Cancels the followers of a task that asks, because they wait until somebody answers it, unless its session is known to be gone. */
  async cancelWaiting(): Promise<void> {
    const { clock, host, manager } = this.stage
    const asks = (id: string): boolean => {
      const task = manager.get(id)
      if (!task || questionOf(task) === undefined) return false
      return this.witness.isBlind || exists(host, task.sessionID)
    }
    for (const task of this.tasks)
      if (!isEnded(task) && dependenciesOf(task).some(asks)) void manager.cancel(task.id)
    await clock.advance(SOON_MS)
  }

  /** Returns the parents that were not deleted. */
  living(): string[] {
    return this.parents.filter((parentID) => exists(this.stage.host, parentID))
  }

  /** Records the ends that the parents themselves have caused so far. */
  noteOwn(manager: BackgroundManager = this.stage.manager): void {
    for (const task of this.#tasksOf(manager)) {
      // A task that was continued at once may already be in its next run.
      const runs = [task, ...((task.kind === 'agent' && task.earlier) || [])]
      for (const run of runs)
        if (run.status === 'cancelled' && run.by === 'parent') this.own.add(`${task.id} ${run.run}`)
    }
  }

  /** Records a fault if a follower was started without the result that it waits for, or with it twice. */
  #checkResults({ sessionID, messages }: ModelRequest): void {
    const awaited = this.#awaited.get(sessionID)
    // A person can have started the turn.
    if (awaited === undefined || this.witness.isForeign(sessionID)) return
    const prompts = messages.flatMap(({ role, content }) => (role === 'user' ? [content] : []))
    const times = prompts.join('\n').split(`<result task="${awaited}"`).length - 1
    if (times !== 1) this.witness.faults.push(`${sessionID} has the result of ${awaited} ${times} times`)
  }

  #tasksOf(manager: BackgroundManager): readonly Task[] {
    return this.parents.flatMap((parentID) => manager.list(parentID))
  }

  /** Runs `work` as a tool call would: refusals are answers, and any other error is a fault. */
  #try(parentID: string, work: () => Promise<unknown>): void {
    const { host, manager } = this.stage
    // A session with undone messages runs no turn, and so calls no tool.
    if (!exists(host, parentID) || host.session(parentID).revert) return
    const tried = async (): Promise<void> => {
      try {
        await manager.recover(parentID)
        await work()
      } catch (error) {
        if (!(error instanceof ToolError || error instanceof HostError))
          this.witness.faults.push(String(error))
      }
    }
    const pending = this.pending
    const call = tried().finally(() => pending.delete(call))
    pending.add(call)
  }

  async #takeOfTask(step: Extract<Step, { task: number }>): Promise<void> {
    const { stage, witness } = this
    const { host, manager } = stage
    if (step.type === 'answer') {
      stage.answer(`prompt ${step.task}`, REPLIES[step.how])
      return
    }
    const id = this.#ids[step.task] ?? ''
    const task = manager.get(id)
    if (!task) return
    const { sessionID, parentID } = task
    // The session of a command has no turns.
    if (task.kind === 'command' && IN_A_CHILD.has(step.type)) return
    switch (step.type) {
      case 'continue':
      case 'afford': {
        const prompt = `more ${this.#prompts++}`
        const budget = step.type === 'afford' ? { toolCalls: 1 } : undefined
        stage.answer(prompt)
        this.#try(parentID, () => manager.continue(id, prompt, { budget }))
        return
      }
      case 'cancel':
        this.#try(parentID, () => manager.cancel(id))
        return
      case 'read':
      case 'block':
        this.#read(id, parentID, step.type === 'block' ? { timeoutMs: 2000 } : {})
        return
      case 'typeInChild':
        if (!exists(host, sessionID)) return
        witness.typedIn(sessionID)
        host.userPrompt(sessionID, `typed ${this.#prompts++}`)
        return
      case 'abortChild':
        void host.userAbort(sessionID)
        return
      case 'deleteChild':
        witness.typedIn(sessionID)
        if (exists(host, sessionID)) host.deleteSession(sessionID)
        return
    }
  }

  async #takeOfCommand(step: Extract<Step, { monitor: number }>): Promise<void> {
    const command = `monitor ${step.monitor}`
    if (step.type === 'exit') {
      this.#processes.exit(command, step.code)
      return
    }
    for (let time = 0; time < step.times; time += 1) {
      if (this.#monitorIDs.has(command)) this.#print(command, step.lines, step.matches)
      else this.#monitor(this.parents[step.monitor] ?? '', command)
      await this.stage.clock.advance(step.ms)
    }
  }

  #monitor(parentID: string, command: string): void {
    const { manager } = this.stage
    const what = { parentID, command, description: command, cwd: '/', timeoutMs: 0 }
    this.#try(parentID, async () => {
      if (this.#monitorIDs.has(command)) return
      this.#monitorIDs.set(command, '')
      const { id } = await manager.launchCommand({ ...what, notifyOn: ['FAIL'], notifyEvery: true })
      this.#ids.push(id)
      this.#monitorIDs.set(command, id)
    })
  }

  #print(command: string, count: number, matches: boolean): void {
    const id = this.#monitorIDs.get(command) ?? ''
    if (id === '') return
    const before = this.printed.get(id) ?? 0
    const lines = Array.from({ length: count }, (_, index) =>
      matches ? `FAIL ${before + index + 1}` : 'fine',
    )
    if (this.#processes.print(command, lines) && matches) this.printed.set(id, before + count)
  }

  async #takeOfParent(step: Extract<Step, { parent: number }>): Promise<void> {
    const { stage, witness } = this
    const { host, manager } = stage
    const parentID = this.parents[step.parent] ?? ''
    if (!exists(host, parentID)) return
    if (PUTS_AWAY.has(step.type) && witness.isBlind) this.disturbed.add(parentID)
    switch (step.type) {
      case 'launch': {
        if (this.#launches >= TASKS) return
        const prompt = `prompt ${this.#launches++}`
        const { model, calls } = step
        const request = {
          parentID,
          agent: 'general',
          prompt,
          description: prompt,
          ...(model && { model }),
          ...(calls !== undefined && { budget: { toolCalls: calls } }),
        }
        const awaited = step.after === undefined ? undefined : this.#ids[step.after]
        this.#try(parentID, async () => {
          const { id, sessionID } = await manager.launch({ ...request, after: awaited ? [awaited] : [] })
          this.#ids.push(id)
          if (awaited !== undefined) this.#awaited.set(sessionID, awaited)
        })
        return
      }
      case 'cancelAll':
        this.#try(parentID, () => manager.cancelAll(parentID))
        return
      case 'write':
        // An archived parent stays closed for all but this message, which also removes an undo.
        if (!host.session(parentID).time.archived) witness.opened(parentID)
        this.#written.set(parentID, host.userPrompt(parentID, `${step.what} ${this.#prompts++}`))
        return
      case 'comeBack':
        for (let time = 0; time < step.times; time += 1) {
          await this.take({ type: 'crash' })
          await this.take({ type: 'write', parent: step.parent, what: 'say' })
          await this.take({ type: 'wait', ms: SOON_MS })
        }
        return
      case 'interrupt':
        this.#interrupt(parentID)
        return
      case 'undo':
        await this.#undo(parentID)
        return
      case 'redo':
        if (!host.session(parentID).revert) return
        host.userUnrevert(parentID)
        if (!host.session(parentID).time.archived) witness.opened(parentID)
        return
      case 'archive':
        host.userArchive(parentID, true)
        witness.closed(parentID)
        return
      case 'unarchive':
        host.userArchive(parentID, false)
        if (!host.session(parentID).revert) witness.opened(parentID)
        return
      case 'deleteParent':
        for (const { sessionID } of manager.list(parentID)) witness.typedIn(sessionID)
        host.deleteSession(parentID)
        return
    }
  }

  async #takeOfHost(
    step: Exclude<Step, { task: number } | { parent: number } | { monitor: number }>,
  ): Promise<void> {
    const { stage, witness } = this
    const { host, clock } = stage
    switch (step.type) {
      case 'wait':
        await clock.advance(step.ms)
        return
      case 'permit': {
        const [request] = host.permissions
        if (request) host.replyPermission(request.id, step.reply)
        return
      }
      case 'crash':
        this.#instanceEnds(stage.manager)
        this.pending = new Set()
        this.#processes.orphan(stage.pid)
        stage.crash()
        return
      case 'restart': {
        const { manager } = stage
        this.old.push(await stage.restart(step.ms))
        this.#instanceEnds(manager)
        // A prompt in flight may arrive when no instance observes its session any more.
        for (const task of this.#tasksOf(manager))
          if (task.status === 'failed' && task.failure.reason === 'interrupted')
            witness.typedIn(task.sessionID)
        return
      }
      case 'deaf':
        witness.isBlind = true
        this.#disturb(Infinity, [])
        return
      case 'swallow':
        // What is sent again arrives beside the next notice.
        this.isPrompt = false
        host.swallowNextPrompt()
        return
      case 'fault':
        this.isPrompt = false
        if (step.method === 'replaceMetadata') this.isRecordSure = false
        if (step.method === 'rejectPermission') this.isRejectionSure = false
        if (step.fault === 'fail') host.failNext(step.method)
        else if (step.fault === 'hang') host.hangNext(step.method)
        else host.loseNextAnswer(step.method)
        return
      case 'events':
        witness.isBlind = true
        this.#disturb(step.count, step.delays)
        return
    }
  }

  /** Takes steps of the host as a process outside of it experiences them. */
  async #takeOfServer(
    step: Exclude<Step, { task: number } | { parent: number } | { monitor: number }>,
  ): Promise<void> {
    const { clock, host, manager } = this.stage
    switch (step.type) {
      case 'crash':
        host.restartServer()
        this.#instanceEnds(manager)
        return
      case 'restart':
        await Promise.all([host.disposeInstance(), clock.advance(AWHILE_MS)])
        this.#instanceEnds(manager)
        return
      case 'deaf':
        this.#cut(LONG_CUT_MS)
        return
      case 'events':
        this.#cut(step.count * AWHILE_MS)
        return
      default:
        return this.#takeOfHost(step)
    }
  }

  /** Cuts the connection to the server for `ms`. */
  #cut(ms: number): void {
    const { clock, host } = this.stage
    this.isRecordSure = false
    this.isRejectionSure = false
    this.isPrompt = false
    host.isAway = true
    clock.after(ms, () => (host.isAway = false))
  }

  #instanceEnds(manager: BackgroundManager): void {
    const { host } = this.stage
    host.eventDelays = () => [0]
    this.witness.instanceEnded()
    this.noteOwn(manager)
    this.#written.clear()
    this.isRecordSure = false
    this.isPrompt = false
    for (const parentID of this.parents) this.disturbed.add(parentID)
    for (const parentID of this.living()) {
      const { revert, time } = host.session(parentID)
      // The next instance does not know that the user has interrupted a parent.
      if (!revert && !time.archived) this.witness.opened(parentID)
    }
  }

  #disturb(count: number, delays: readonly number[]): void {
    const { host } = this.stage
    let left = count
    host.eventDelays = (event) => {
      const isDisturbed = left-- > 0
      this.#noteGap(event, isDisturbed && delays.length === 0)
      return isDisturbed ? delays : [0]
    }
  }

  /**
   * Marks a parent as disturbed when the event of a turn's beginning or failure is lost and a later idle event
   * arrives, because that turn looks interrupted.
   */
  #noteGap({ type, properties }: Event, isLost: boolean): void {
    if (type !== 'session.status' && type !== 'session.error') return
    const sessionID = properties.sessionID ?? ''
    if (isLost) this.#gaps.add(sessionID)
    else if (type === 'session.status' && properties.status.type === 'idle' && this.#gaps.delete(sessionID))
      this.disturbed.add(sessionID)
  }

  /** Makes the parent's model call a tool that reads an end, and then takes a while to return. */
  #read(id: string, parentID: string, options: OutputOptions): void {
    const { stage, witness } = this
    const { host, clock } = stage
    if (!exists(host, parentID)) return
    if (!host.session(parentID).time.archived) witness.opened(parentID)
    const call = host.toolCall(async (callID) => {
      const reader = { sessionID: parentID, callID }
      const { task, receipt } = await stage.manager.output(id, { ...options, reader })
      await new Promise<void>((resolve) => clock.after(host.latencyMs() * 10, resolve))
      return { output: task.status, metadata: { ...receipt } }
    })
    this.#calls.set(parentID, call)
    this.#written.set(parentID, host.userPrompt(parentID, 'read'))
  }

  #close(parentID: string): void {
    // A message that was written just before is stored after the close, and opens the session again.
    const written = this.#written.get(parentID)
    const stored = this.stage.host.messagesOf(parentID).map(({ info }) => info.id)
    if (written === undefined || stored.includes(written)) this.witness.closed(parentID)
  }

  #interrupt(parentID: string): void {
    const { host } = this.stage
    // An abort of an idle session interrupts nothing, and so may cause no event that shows it to the plugin.
    const isAsking = host.modelRequests.some(
      ({ sessionID, outcome }) => sessionID === parentID && outcome === 'open',
    )
    this.witness.aborted(parentID)
    this.disturbed.add(parentID)
    if (isAsking && host.isBusy(parentID)) this.#close(parentID)
    void host.userAbort(parentID)
  }

  /** Acts like /undo: aborts a running turn, then undoes the user's newest message that is not undone yet. */
  async #undo(parentID: string): Promise<void> {
    const { host, clock } = this.stage
    if (host.isBusy(parentID)) {
      this.#interrupt(parentID)
      await clock.advance(40)
    }
    if (host.isBusy(parentID)) return
    const { revert } = host.session(parentID)
    const stored = host.messagesOf(parentID)
    const before = revert ? stored.findIndex(({ info }) => info.id === revert.messageID) : stored.length
    const newest = stored.slice(0, before).findLast(({ info }) => info.role === 'user')
    if (!newest) return
    host.userRevert(parentID, newest.info.id)
    this.#close(parentID)
  }
}
