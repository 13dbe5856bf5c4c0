/** Checks whether a task can be launched, creates its child session and record, and adds it to the store. */
import type { Budgets } from './budgets.ts'
import type { Clock } from '../clock.ts'
import { errorText, HostError, type Session } from '../host/opencode.ts'
import type { Parent } from '../parent/parent.ts'
import type { Parents } from '../parent/parents.ts'
import type { TimelineWriter } from '../timeline.ts'
import { newTaskID } from '../task/id.ts'
import type { TaskRecords } from '../task/records.ts'
import type { TaskStore } from '../task/store.ts'
import type { Task } from '../task/task.ts'
import type { KindLaunch, LaunchOf } from '../work/kind.ts'
import { KINDS } from '../work/kinds.ts'
import type { Work } from '../work/work.ts'
import { ToolError } from '../tool-error.ts'

interface Ports {
  /** Returns `undefined` where no session has a budget. */
  readonly budgetsFor: () => Promise<Budgets> | undefined
  readonly clock: Clock
  readonly store: TaskStore
  readonly records: TaskRecords
  readonly parents: Parents
  readonly timeline: TimelineWriter
}

export class Launcher {
  readonly #ports: Ports
  readonly #limits: { readonly maxTasksPerSession: number }
  /** The ids of tasks that are being created, and that the store does not have yet. */
  readonly #chosenIDs = new Set<string>()

  constructor(ports: Ports, limits: { readonly maxTasksPerSession: number }) {
    this.#ports = ports
    this.#limits = limits
  }

  /** Creates a task, or rejects with a `ToolError`; nothing is created then. */
  async launch<Request extends LaunchOf, Each extends Work>(
    launch: KindLaunch<Request, Each>,
    request: Request,
  ): Promise<Each & Extract<Task, { status: 'pending' }>> {
    const { parentID, description } = request
    launch.check(request)
    return this.admitted(launch.kind, parentID, () =>
      this.#withID(async (id) => {
        const { records, store, timeline, clock } = this.#ports
        const run = { id, run: 1, createdAt: clock.now() }
        const { work, permission, discard } = await launch.prepare(request, run, this.#parent(parentID))
        const draft = { ...run, parentID, description, ...work }
        const task = await records.create(draft, permission).catch(async (error: unknown) => {
          await discard?.()
          throw error
        })
        store.add(task)
        if (!('after' in task)) timeline.add(task.id, { type: 'queued' })
        return task
      }),
    )
  }

  /**
   * Runs work that gives a parent one more unfinished task of a kind. Rejects with a `ToolError` if the parent
   * has too many or has spent its budget, or if OpenCode fails.
   */
  async admitted<Result>(kind: Task['kind'], parentID: string, work: () => Promise<Result>): Promise<Result> {
    const parent = this.#ports.parents.of(parentID)
    if (KINDS[kind].isLimited) {
      const refusal = (await this.#ports.budgetsFor())?.sessionRefusal(parentID)
      if (refusal !== undefined) throw new ToolError(refusal, 'budgetSpent')
      this.#refuseTooMany(parent)
    }
    return parent.launch(kind, explained(work))
  }

  /** Returns the session that launches. Rejects with a `ToolError` if it does not exist, or is a child. */
  async #parent(parentID: string): Promise<Session> {
    const { gate } = this.#ports.parents.of(parentID)
    const parent = await gate.session().catch((error: unknown) => {
      if (!(error instanceof HostError) || error.reason !== 'notFound') throw error
      throw new ToolError(`There is no session ${parentID}.`, 'unknownSession', { cause: error })
    })
    if (parent.parentID === undefined) return parent
    throw new ToolError(
      'A sub-agent cannot start background tasks. Do this work yourself, or report it to your caller.',
      'childSession',
    )
  }

  #refuseTooMany({ tasks, launches }: Parent): void {
    const { maxTasksPerSession } = this.#limits
    // Most launches need not read each task, so that they cost the same however many there are.
    if (tasks.unfinishedIDs.size + launches.size < maxTasksPerSession) return
    const launching = [...launches.values()].filter((kind) => KINDS[kind].isLimited)
    const unfinished = [...tasks.unfinished()].filter(({ kind }) => KINDS[kind].isLimited)
    if (unfinished.length + launching.length < maxTasksPerSession) return
    const ids = unfinished.map(({ id }) => id).join(', ')
    throw new ToolError(
      `This session has ${maxTasksPerSession} unfinished tasks, which is its limit: ${ids}. ` +
        'Wait until some have ended, or cancel some.',
      'tooManyTasks',
    )
  }

  /** Calls `add` with an id that no other task has, including tasks that are being launched concurrently. */
  async #withID<Result>(add: (id: string) => Promise<Result>): Promise<Result> {
    const id = this.#unusedID()
    this.#chosenIDs.add(id)
    try {
      return await add(id)
    } finally {
      this.#chosenIDs.delete(id)
    }
  }

  #unusedID(): string {
    const id = newTaskID()
    return this.#ports.store.get(id) || this.#chosenIDs.has(id) ? this.#unusedID() : id
  }
}

/** Turns a `HostError` into a `ToolError` from which the caller learns what to do. */
async function explained<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof HostError)) throw error
    // Only a person can correct the password of the client.
    const advice = error.reason === 'unauthorized' ? '' : ' Try again.'
    throw new ToolError(`The task was not started: ${errorText(error)}.${advice}`, 'hostFailed', {
      cause: error,
    })
  }
}
