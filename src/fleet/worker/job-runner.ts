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
import { newPromptID } from '../../task/id.ts'
import { isEnded, type Task } from '../../task/task.ts'
import { childRules, keepsOut } from '../../work/agent/agent-launch.ts'
import type { AgentWork, Worktree } from '../../work/agent/agent-work.ts'
import type { KindLaunch } from '../../work/kind.ts'
import { transferRef } from '../../worktree/bundles.ts'
import { receive, refuseNoDirectory } from '../../worktree/transport.ts'
import { readPayload, type Payload } from '../payload.ts'
import type { Runner, RunningJob } from '../running-job.ts'
import { connectHost, type Host, type HostSettings } from './host.ts'
import { runOf, type Begun, type JobRun } from './job-run.ts'

/** The key in the metadata of a child session whose value names its job. */
const JOB_KEY = 'background-job'

/** The job was not begun: another worker may do it. */
export class NotStarted extends Error {
  override readonly name = 'NotStarted'
}

/** Resolves once the queue has accepted that the prompt is sent. Rejects if it may not be sent. */
type Accepted = () => Promise<void>

interface JobRequest {
  readonly parentID: string
  readonly description: string
  readonly payload: Payload
}

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
      return this.#runOf(task, { jobTaskID: taskID, base: code.commit })
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
      return this.#runOf(task, { jobTaskID: taskID, base })
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

  #runOf({ id: taskID, sessionID }: Task, begun: Omit<Begun, 'taskID'>): JobRun {
    return runOf(this.#host, this.#log, { taskID, ...begun }, () => this.#gates.delete(sessionID))
  }
}

function accordingToSchema(given: object): Payload {
  try {
    return readPayload(given)
  } catch (error) {
    throw new NotStarted(errorText(error), { cause: error })
  }
}
