/**
 * Runs the jobs of a worker, each as a task of the local OpenCode in a worktree of its own.
 *
 *   received ──→ prepared ──→ prompted ──→ ended ──→ handed back ──→ dropped
 *
 * `received`: the payload and its code were checked, and the commit is a ref of the clone. `prepared`: the child session exists,
 * and its record names the job. `prompted`: the queue has accepted that the prompt is sent, and OpenCode has it; from here on no
 * other worker starts the job. `ended`: the changes are a commit. `dropped`: the queue has the result, so that the tree goes.
 */
import type { Log } from '../../host/log.ts'
import { errorText, HostError } from '../../host/opencode.ts'
import { newPromptID, newSteerID } from '../../task/id.ts'
import { waitFor } from '../../task/wait-for.ts'
import { NO_USAGE } from '../../task/state.ts'
import { isActive, isEnded, type AgentTask, type EndedTask, type Task } from '../../task/task.ts'
import { systemClock } from '../../clock.ts'
import { childRules, keepsOut } from '../../work/agent/agent-launch.ts'
import type { AgentWork, Worktree } from '../../work/agent/agent-work.ts'
import type { KindLaunch } from '../../work/kind.ts'
import { makeBundle, transferRef } from '../../worktree/bundles.ts'
import { checkpointOf as filesOf, dropTree, receive, refuseNoDirectory } from '../../worktree/transport.ts'
import {
  checkpointOf,
  readPayload,
  reportOf,
  resultOf,
  type Checkpoint,
  type Payload,
  type Report,
  type Result,
} from '../payload.ts'
import type { Runner, RunningJob } from '../running-job.ts'
import { connectHost, type Host, type HostSettings } from './host.ts'

/** The key in the metadata of a child session whose value names its job. */
const JOB_KEY = 'background-job'

/** The job was not begun: another worker may do it. */
export class NotStarted extends Error {
  override readonly name = 'NotStarted'
}

/** A job at work. */
export interface JobRun extends RunningJob {
  /** Resolves with the result when the agent has really stopped and its changes are a commit. Never rejects. */
  readonly result: Promise<Result>
  /** The present state of its task. */
  readonly task: () => AgentTask
  /** Resolves with what a sign of life says of it. */
  report(): Promise<Report>
  /** The provider that refuses its requests for now, and for how long; `undefined` for none. */
  readonly backoff: () => { readonly providerID: string; readonly forMs: number } | undefined
  /** Sends a message to the agent. Resolves with whether the agent reads it: not after its end. */
  say(text: string): Promise<boolean>
  /** Stops the agent; `result` resolves when it has stopped. */
  stop(): void
  /**
   * Resolves with the present files as a commit, once that is due: after `CHECKPOINT_MS`, or `CHECKPOINT_CALLS` tool calls.
   * Rejects with a `GitError`.
   */
  checkpoint(): Promise<Checkpoint | undefined>
  /** Removes what the job has left here, once the queue has its result, except a tree with changes that the queue does not have. Never rejects. */
  drop(): Promise<void>
}

/** Resolves once the queue has accepted that the prompt is sent. Rejects if it may not be sent. */
type Accepted = () => Promise<void>

interface JobRequest {
  readonly parentID: string
  readonly description: string
  readonly payload: Payload
}

interface Begun {
  /** The task here. */
  readonly taskID: string
  /** The task of the launch. */
  readonly jobTaskID: string
  /** The commit from which the agent started. */
  readonly base: string
}

const CHECKPOINT_MS = 300_000
const CHECKPOINT_CALLS = 20
/** The length of an activity in a report: a tool's title can have any. */
const LONGEST_ACTIVITY = 300

export class JobRunner implements Runner {
  readonly #host: Host
  readonly #log: Pick<Log, 'warn'>
  readonly #options: Pick<HostSettings, 'remote'>
  /** By the session of a job that was not prompted yet. */
  readonly #gates: Map<string, Accepted>

  private constructor(
    host: Host,
    gates: Map<string, Accepted>,
    log: Pick<Log, 'warn'>,
    options: Pick<HostSettings, 'remote'>,
  ) {
    this.#host = host
    this.#gates = gates
    this.#log = log
    this.#options = options
  }

  /** Connects to the OpenCode of the settings. Rejects with a `UsageError` that says what to do. */
  static async connect(settings: HostSettings, log: Log): Promise<JobRunner> {
    const gates = new Map<string, Accepted>()
    const host = await connectHost(settings, log, async (sessionID) => {
      try {
        await gates.get(sessionID)?.()
        gates.delete(sessionID)
      } catch (error) {
        throw new HostError('refused', errorText(error))
      }
    })
    return new JobRunner(host, gates, log, settings)
  }

  /** The labels of the projects that its clone is of. */
  get projects(): readonly string[] {
    return this.#host.projects
  }

  /**
   * Begins a job. Rejects with a `NotStarted` if it cannot be begun here; nothing stays then.
   *
   * @param accepted called before the prompt is sent
   */
  async start(jobID: string, given: object, accepted: Accepted): Promise<JobRun> {
    const payload = accordingToSchema(given)
    const { checkout, git, parentID, rooms } = this.#host
    const { code, description, taskID } = payload
    try {
      const bundle = code.bundle === undefined ? {} : { bundle: Buffer.from(code.bundle, 'base64') }
      const transfer = { id: taskID, name: 'in', commit: code.commit, ...bundle } as const
      await receive(git, checkout, transfer, this.#options.remote).catch((error: unknown) => {
        throw new Error(`${checkout} cannot take its code: ${errorText(error)}`, { cause: error })
      })
      await refuseNoDirectory(git, checkout, code.commit, code.prefix)
      const task = await rooms.launcher.launch(this.#launch(), { parentID, description, payload })
      this.#gates.set(task.sessionID, accepted)
      // Before the prompt, so that a worker that starts again finds the job of each session that was prompted.
      await rooms.records.mark(task.sessionID, { [JOB_KEY]: { id: jobID, taskID, base: code.commit } })
      await rooms.order.enqueue(task)
      return this.#runOf({ taskID: task.id, jobTaskID: taskID, base: code.commit })
    } catch (error) {
      await git(checkout, ['update-ref', '-d', transferRef({ id: taskID, name: 'in' })]).catch(() => {})
      throw new NotStarted(errorText(error), { cause: error })
    }
  }

  /** Finds a job that an earlier process of this worker has begun; `undefined` if its session is gone. Rejects in doubt. */
  async resume(jobID: string): Promise<JobRun | undefined> {
    const { opencode, parentID, rooms } = this.#host
    await rooms.recovery.recover(parentID, { again: true })
    for (const { id, metadata } of await opencode.children(parentID)) {
      const { id: ofJob, taskID, base } = { ...(metadata?.[JOB_KEY] as Partial<Record<string, string>>) }
      if (ofJob !== jobID || taskID === undefined || base === undefined) continue
      const task = rooms.store.findBySession(id)
      // The recovery never rejects: after a failure, it leaves what it could not read.
      if (!task) throw new Error(`its session ${id} could not be recovered, or another process has it`)
      return this.#runOf({ taskID: task.id, jobTaskID: taskID, base })
    }
    return undefined
  }

  /** Stops the agents of jobs that another worker may have by now: those of an earlier process that were not resumed. */
  async stopStrays(kept: readonly RunningJob[]): Promise<void> {
    const { executor, store } = this.#host.rooms
    const ids = new Set(kept.map((run) => (run as JobRun).task().id))
    const strays = [...store.all()].filter((task) => !ids.has(task.id) && !isEnded(task))
    await Promise.all(strays.map(({ id }) => executor.cancel(id, 'parent')))
  }

  /** Leaves the agents as they are, for the next process of this worker to find. */
  detach(): Promise<void> {
    return this.#host.detach()
  }

  #launch(): KindLaunch<JobRequest, AgentWork> {
    const { catalogue, names, worktrees } = this.#host.rooms
    return {
      kind: 'agent',
      check: () => {},
      prepare: async ({ payload }, run, parent) => {
        const { code, denials, model, prompt, budget, description } = payload
        const [agent, primaryTools] = await Promise.all([
          catalogue.agent(payload.agent),
          catalogue.primaryTools(),
          parent,
          model && catalogue.model(`${model.providerID}/${model.modelID}`),
        ])
        const trees = await worktrees()
        const treeTask = { ...run, description }
        const planned = await trees.plan(treeTask, { start: code.commit })
        const worktree: Worktree = {
          ...planned,
          directory: `${planned.root}/${code.prefix}`.replace(/\/$/, ''),
        }
        const denied = denials.map((rule) => ({ ...rule, action: 'deny' as const }))
        return {
          work: {
            kind: 'agent',
            agent: agent.name,
            ...(model && { model }),
            ...(agent.steps !== undefined && { maxSteps: agent.steps }),
            prompt,
            promptIDs: [newPromptID(run, run.createdAt)],
            ...(budget && { budget }),
            worktree,
          },
          permission: [
            ...childRules({ permission: denied }, [...Object.values(names), ...primaryTools]),
            keepsOut(worktree),
          ],
          discard: () => trees.discard(worktree, treeTask),
        }
      },
    }
  }

  #runOf(begun: Begun): JobRun {
    const { taskID, jobTaskID, base } = begun
    const { checkout, git, opencode, rooms } = this.#host
    const { agents, backoff, executor, kindOf, records, store, timeline } = rooms
    const now = (): AgentTask => store.get(taskID) as AgentTask
    const due = { commit: base, at: systemClock.monotonic(), calls: 0 }
    const stopCounting = timeline.subscribe((step, { id }) => {
      if (id === taskID && step.type === 'tool' && step.state !== 'running') due.calls += 1
    })
    /** The bundle that is being made: that of the end gets its ref after it. */
    let packing: Promise<unknown> = Promise.resolve()
    const result = this.#resultOf(begun, () => packing).finally(() => {
      stopCounting()
      this.#gates.delete(now().sessionID)
    })
    return {
      result,
      task: now,
      async report() {
        const task = now()
        const { transcript } = await kindOf(task)
          .report(task, {})
          .catch(() => ({ transcript: undefined }))
        const activity = transcript?.activity?.what.slice(0, LONGEST_ACTIVITY)
        return reportOf({
          usage: agents.usageOf(taskID) ?? transcript?.usage ?? NO_USAGE,
          ...(activity !== undefined && { activity }),
          questions:
            task.status === 'waiting'
              ? task.permissionRequests.map(({ id, permission, patterns }) => ({
                  id,
                  permission,
                  patterns: [...patterns],
                }))
              : [],
        })
      },
      backoff() {
        const { model, sessionID } = now()
        const retry = backoff.retryOf(sessionID)
        return model && retry && { providerID: model.providerID, forMs: retry.inMs }
      },
      async say(text) {
        const hasBegun = (task: Task): boolean => task.status !== 'starting'
        await waitFor({ store, clock: systemClock }, taskID, hasBegun)
        const task = now()
        const promptID = newSteerID(task, systemClock.now())
        // Never a next run: nobody would know of it.
        return store.dispatch(taskID, { type: 'steered', promptID }) && agents.steer(task, { promptID, text })
      },
      stop: () => executor.stop(taskID, { type: 'cancelled', by: 'parent' }),
      async checkpoint() {
        const { worktree } = now()
        const isDue = systemClock.monotonic() - due.at >= CHECKPOINT_MS || due.calls >= CHECKPOINT_CALLS
        if (!isDue || !worktree || !isActive(now())) return undefined
        due.at = systemClock.monotonic()
        due.calls = 0
        const commit = await filesOf(git, worktree, taskID)
        // The end, which may have come meanwhile, has all of it.
        if (commit === due.commit || !isActive(now())) return undefined
        due.commit = commit
        const made = makeBundle(git, checkout, { id: jobTaskID, name: 'out', commit }, [base])
        packing = made.catch(() => {})
        const bundle = await made
        return bundle && checkpointOf({ commit, bundle: base64(bundle.bytes) })
      },
      drop: async () => {
        const { sessionID, worktree } = now()
        try {
          // The next process finds no record, and so does not read the job again.
          await records.flush()
          await opencode.replaceMetadata(sessionID, {})
          // A tree whose changes could not be committed has the only copy of them.
          const isKept = (await result).code.type === 'kept'
          if (worktree && !isKept) await dropTree(git, worktree, [taskID, jobTaskID])
        } catch (error) {
          this.#log.warn(`what ${jobTaskID} has left could not be removed: ${errorText(error)}`)
        }
      },
    }
  }

  async #resultOf({ taskID, jobTaskID, base }: Begun, packing: () => Promise<unknown>): Promise<Result> {
    const { kindOf, parents, store } = this.#host.rooms
    const ended = await waitFor({ store, clock: systemClock }, taskID, isEnded)
    if (!ended || !isEnded(ended)) throw new Error(`${taskID} was removed`)
    // Nobody reads the session under which the agents are.
    parents.find(ended.parentID)?.outbox.settle(ended)
    const report = await kindOf(ended)
      .report(ended, {})
      .catch(() => undefined)
    await packing()
    return resultOf({
      outcome: outcomeOf(ended),
      text: report?.transcript?.text ?? '',
      usage: ended.usage,
      code: await this.#codeOf(ended as EndedTask & AgentTask, jobTaskID, base),
    })
  }

  /** Returns the changes of a run as a bundle. Where there can be none, the tree stays, and is named. */
  async #codeOf(
    { changes, worktree }: EndedTask & AgentTask,
    id: string,
    base: string,
  ): Promise<Result['code']> {
    const { checkout, git } = this.#host
    const kept = (why: string): Result['code'] => ({
      type: 'kept',
      why: `in ${worktree?.root}: ${why}`,
    })
    if (changes?.type === 'failed') return kept(changes.message)
    if (changes?.type !== 'committed') return { type: 'none' }
    const { commit } = changes
    try {
      const bundle = await makeBundle(git, checkout, { id, name: 'out', commit }, [base])
      return { type: 'committed', commit, ...(bundle && { bundle: base64(bundle.bytes) }) }
    } catch (error) {
      return kept(errorText(error))
    }
  }
}

function accordingToSchema(given: object): Payload {
  try {
    return readPayload(given)
  } catch (error) {
    throw new NotStarted(errorText(error), { cause: error })
  }
}

function outcomeOf(ended: EndedTask): Result['outcome'] {
  switch (ended.status) {
    case 'completed': {
      const { incomplete, question } = ended
      return {
        status: 'completed',
        ...(incomplete && { incomplete }),
        ...(question !== undefined && { question }),
      }
    }
    case 'failed':
      return { status: 'failed', failure: ended.failure }
    case 'cancelled':
      return { status: 'cancelled' }
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
