/**
 * Runs agents on other machines. The task's own session, here, holds its record; the conversation is in a session on the machine,
 * in a worktree there. Runs, evidence, steering and permissions are those of any agent, because `placed-calls.ts` and
 * `placed-events.ts` translate between the two sessions.
 *
 *   plan ──→ open the tree there ──→ session there ──→ record ──→ prompt … end ──→ fetch ──→ branch here ──→ drop the tree there
 *
 * The record names the session before the prompt is sent: a run killed before that has not started, and nothing runs twice.
 * A machine that does not answer ends no task.
 */
import type { Options } from '../config.ts'
import { EventSubscription } from '../host/event-subscription.ts'
import type { Observers } from '../host/observers.ts'
import { errorText, type Event, type Opencode, type StoredMessage } from '../host/opencode.ts'
import { readRecord } from '../task/record.ts'
import { machineOf } from '../task/place.ts'
import type { Failure, Outcome } from '../task/state.ts'
import { isEnded, type AgentTask, type EndedTask } from '../task/task.ts'
import { keepsOut, type LaunchRequest } from '../work/agent/agent-launch.ts'
import type { MachinePlace, Worktree } from '../work/agent/agent-work.ts'
import { atWork, earlierEnds } from '../work/agent/left-runs.ts'
import { readTranscript } from '../work/agent/transcript.ts'
import type { Recovered } from '../work/kind.ts'
import { git } from '../worktree/git.ts'
import type { TreeTask } from '../worktree/worktrees.ts'
import { unlessAborted } from '../worktree/unless-aborted.ts'
import type { WorktreeRuns } from '../worktree/worktree-runs.ts'
import { Checkpoints } from './checkpoints.ts'
import { isUnanswered } from './machine-calls.ts'
import { Machines, refusal, type MachinesPorts } from './machines.ts'
import { routePlacedCalls, type Placed } from './placed-calls.ts'
import { passTo } from './placed-events.ts'
import { openTree } from './remote-tree.ts'
import { ReturnedChanges, type PlacedRun } from './returned-changes.ts'

interface Ports extends MachinesPorts {
  readonly opencode: Opencode
  readonly worktrees: () => Promise<WorktreeRuns>
  /** Resolves when the record of a task was written. */
  readonly recorded: (task: AgentTask) => Promise<void>
  readonly observers: () => Observers
}

interface Run extends PlacedRun {
  /** Aborted when the run is over. */
  readonly over: AbortSignal
  readonly checkpoints: Checkpoints
}

export class MachineRuns {
  readonly #ports: Ports
  readonly #machines: Machines
  readonly #returns: ReturnedChanges
  /** By a task's own session: its session on a machine, now or before. */
  readonly #placed = new Map<string, Placed>()
  /** The sessions of the tasks at work. */
  readonly #atWork = new Map<string, Placed>()
  /** By the id of a permission request: the session that asked. */
  readonly #askers = new Map<string, Placed>()

  constructor(ports: Ports, options: Options['machines']) {
    this.#ports = ports
    this.#machines = new Machines(ports, options)
    this.#returns = new ReturnedChanges(ports)
    routePlacedCalls(ports.opencode, {
      clock: ports.clock,
      placedOf: (sessionID) => this.#placed.get(sessionID),
      atWork: () => this.#atWork,
      askerOf: (requestID) => this.#askers.get(requestID),
    })
  }

  /** Chooses a machine, and stores the state from which its tree will be made. Rejects with a `ToolError`. */
  async plan(
    task: TreeTask,
    { where = '' }: LaunchRequest,
  ): Promise<{ readonly place: MachinePlace; readonly worktree: Worktree }> {
    const link = await this.#machines.choose(where)
    try {
      const planned = await (
        await this.#ports.worktrees()
      ).plan(task, {
        isElsewhere: true,
        isTrackedOnly: !link.options.untracked,
      })
      return { worktree: planned, place: { type: 'machine', name: link.name } }
    } catch (error) {
      throw refusal(errorText(error))
    }
  }

  /** Determines what is known of a recorded task: an unfinished one is watched again, whether its machine answers or not. */
  async recover(recorded: AgentTask, isTold: (task: EndedTask) => boolean): Promise<Recovered> {
    this.#know(recorded)
    const earlier = earlierEnds(recorded, [])
    const isUntold = earlier.some((end) => !isTold(end.task)) || (isEnded(recorded) && !isTold(recorded))
    const messages = isUntold ? await this.#messagesOf(recorded) : []
    const before = messages ? earlierEnds(recorded, messages) : earlier
    if (!isEnded(recorded))
      return { task: atWork(recorded, messages ?? [], this.#ports.clock.now()), ends: before }
    const text = messages
      ? readTranscript(messages, recorded.promptIDs).text
      : `(There is no contact with ${machineOf(recorded)?.name}, which has its text.)`
    return { task: recorded, ends: [...before, { task: recorded, text }] }
  }

  /** Returns `undefined` if they cannot be read. */
  async #messagesOf({ sessionID }: AgentTask): Promise<readonly StoredMessage[] | undefined> {
    try {
      return await this.#ports.opencode.messages(sessionID)
    } catch {
      return undefined
    }
  }

  #know(task: AgentTask): Placed | undefined {
    const { sessionID } = task
    const place = machineOf(task)
    if (place?.sessionID === undefined || place.directory === undefined) return undefined
    const placed = {
      link: this.#machines.link(place.name),
      sessionID: place.sessionID,
      directory: place.directory,
    }
    this.#placed.set(sessionID, placed)
    return placed
  }

  /**
   * Prepares the tree and the session there, calls `run`, brings the changes back, and adds them to the outcome. Never rejects if
   * `run` does not.
   */
  async run(
    task: AgentTask,
    worktree: Worktree,
    stop: AbortSignal,
    run: (failure: Failure | undefined) => Promise<Outcome>,
  ): Promise<Outcome> {
    const place = machineOf(task)
    if (!place) throw new Error(`${task.id} has no place`)
    const link = this.#machines.link(place.name)
    const over = new AbortController()
    const stopUsing = link.use()
    const checkpoints = new Checkpoints(this.#ports.clock, () =>
      this.#returns.checkpoint(task, worktree, link),
    )
    const its: Run = { task, place, worktree, link, stop, over: over.signal, checkpoints }
    try {
      const failure = await this.#prepare(its)
      const outcome = await run(failure)
      // The scripts of the end wait for those of a checkpoint that is under way.
      checkpoints.stop()
      const changes = await this.#returns.take(its)
      return changes ? { ...outcome, changes } : outcome
    } finally {
      checkpoints.stop()
      over.abort()
      stopUsing()
      this.#atWork.delete(task.sessionID)
      for (const [id, asker] of this.#askers)
        if (asker === this.#placed.get(task.sessionID)) this.#askers.delete(id)
    }
  }

  /** Makes the tree and the session, and follows the session. Retries until the machine answers. */
  async #prepare(run: Run): Promise<Failure | undefined> {
    const { log } = this.#ports
    const { task, link, stop } = run
    const isStarting = task.status === 'starting'
    for (;;) {
      try {
        const placed = isStarting ? await this.#open(run) : this.#know(task)
        if (placed) await this.#follow(run, placed, isStarting)
        return undefined
      } catch (error) {
        if (stop.aborted) return undefined
        if (!isUnanswered(error))
          return { reason: 'error', message: `it could not start on ${link.name}: ${errorText(error)}` }
        log.warn(`${task.id}: ${errorText(error)}; trying again`)
        await link.answers(stop)
        if (stop.aborted) return undefined
      }
    }
  }

  async #open({ task, worktree, link, stop }: Run): Promise<Placed | undefined> {
    const { opencode, recorded, store } = this.#ports
    const tree = await openTree(git, link, task, worktree)
    const now = store.now(task)
    const own = await opencode.session(task.sessionID)
    const sessionID =
      machineOf(now)?.sessionID ??
      (await link.createSession({
        title: own.title,
        permission: [...(own.permission ?? []), keepsOut(tree)],
        metadata: { 'background-machine': { task: task.id, session: task.sessionID } },
      }))
    if (stop.aborted) return undefined
    const { url } = link.options
    store.dispatch(task.id, { type: 'placed', sessionID, directory: tree.directory, url })
    await recorded(task)
    // A prompt without this record could be sent again by a later process.
    const written = readRecord(await opencode.session(task.sessionID))?.task
    if (!written || machineOf(written)?.sessionID !== sessionID)
      throw new Error('its record could not be written')
    const session = await link.opencode.session(sessionID)
    if (session.directory !== tree.directory) await link.opencode.moveSession(sessionID, tree.directory)
    return this.#know(store.now(task))
  }

  /** Follows the events of a session there. Resolves once they arrive; for a resumed run at once. */
  async #follow(
    { task, link, stop, over, checkpoints }: Run,
    placed: Placed,
    isStarting: boolean,
  ): Promise<void> {
    const { clock, disposal, log, missed, observers } = this.#ports
    const { sessionID } = task
    this.#atWork.set(sessionID, placed)
    const exclude = link.opencode.include(placed.directory)
    over.addEventListener('abort', exclude)
    const pass = passTo(observers(), placed.sessionID, sessionID)
    checkpoints.start()
    let isFirst = isStarting
    const feed = new EventSubscription(
      {
        clock,
        log,
        opencode: { events: (onEvent, signal) => link.opencode.events(onEvent, signal, placed.directory) },
        disposal: AbortSignal.any([disposal, over]),
      },
      {
        onEvent: (event) => {
          link.observeEvent()
          if (event.type === 'permission.asked' && event.properties.sessionID === placed.sessionID)
            this.#askers.set(event.properties.id, placed)
          if (isToolEnd(event, placed.sessionID)) checkpoints.count()
          pass(event)
        },
        onConnected: () => {
          if (!isFirst) missed([sessionID])
          isFirst = false
        },
        onRefused: ({ message }) => log.warn(`${link.name}: ${message}`),
      },
    )
    const following = feed.follow()
    following.catch(() => {})
    if (isStarting) await unlessAborted(following, stop)
  }
}

function isToolEnd({ type, properties }: Event, sessionID: string): boolean {
  if (type !== 'message.part.updated') return false
  const { part } = properties
  return part.sessionID === sessionID && part.type === 'tool' && part.state.status === 'completed'
}
