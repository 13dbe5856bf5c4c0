/** Checks whether a task can be launched, creates its child session and record, and adds it to the store. */
import type { Catalogue } from './catalogue.ts'
import type { Clock } from '../clock.ts'
import { errorText, HostError, type Agent, type PermissionRuleset, type Session } from '../host/opencode.ts'
import { modelOf } from '../parent/gate.ts'
import type { Parent } from '../parent/parent.ts'
import type { Parents } from '../parent/parents.ts'
import type { TimelineWriter } from '../timeline.ts'
import { newPromptID, newTaskID } from '../task/id.ts'
import type { TaskRecords } from '../task/records.ts'
import type { TaskStore } from '../task/store.ts'
import type { CommandTask, Task, TaskModel } from '../task/task.ts'
import type { CommandWork } from '../work/command/command-work.ts'
import type { ToolNames } from '../tool-names.ts'
import { refuseEmptyPrompt, ToolError } from '../tool-error.ts'

export interface LaunchRequest {
  /** The session that launches, and receives the notice. */
  readonly parentID: string
  /** The name of a sub-agent. */
  readonly agent: string
  /** The whole task: the child receives nothing else. */
  readonly prompt: string
  /** Three to five words, for people. */
  readonly description: string
  /** As `provider/model`. Default: the agent's own, otherwise the parent's with its variant. */
  readonly model?: string | undefined
  /** The variant of `model`: OpenCode's term for reasoning effort. */
  readonly variant?: string | undefined
}

export interface CommandRequest extends Omit<CommandWork, 'kind'> {
  /** The session that launches, and receives the notice. */
  readonly parentID: string
  /** A few words, for people. */
  readonly description: string
}

/** Denied to a child besides our tools: work of its own, and questions that no user would see. */
const CHILD_DENIES = ['task', 'question']

interface Ports {
  readonly catalogue: Catalogue
  readonly clock: Clock
  readonly store: TaskStore
  readonly records: TaskRecords
  readonly parents: Parents
  readonly timeline: TimelineWriter
  readonly names: ToolNames
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

  /** Creates the task of an agent, or rejects with a `ToolError`; nothing is created then. */
  async launch(request: LaunchRequest): Promise<Task> {
    const { parentID, agent, prompt, description } = request
    refuseEmptyPrompt(prompt)
    return this.admitted(parentID, async () => {
      const { catalogue, records, store, timeline, clock } = this.#ports
      const [parent, chosen, primaryTools] = await Promise.all([
        this.#parent(parentID),
        catalogue.agent(agent),
        catalogue.primaryTools(),
      ])
      const model = await this.#model(request, chosen, parent)
      const createdAt = clock.now()
      return this.#withID(async (id) => {
        const task = await records.create(
          {
            id,
            kind: 'agent',
            run: 1,
            parentID,
            agent: chosen.name,
            ...(model && { model }),
            ...(chosen.steps !== undefined && { maxSteps: chosen.steps }),
            description,
            prompt,
            promptIDs: [newPromptID({ id, run: 1 }, createdAt)],
            createdAt,
          },
          childRules(parent, [...Object.values(this.#ports.names), ...primaryTools]),
        )
        store.add(task)
        timeline.add(task.id, { type: 'queued' })
        return task
      })
    })
  }

  /** Creates the task of a shell command. Rejects as `launch` does, but not for too many tasks. */
  async launchCommand({ parentID, ...given }: CommandRequest): Promise<CommandTask> {
    const request = { ...given, timeoutMs: limitOf(given) }
    if (request.command.trim() === '') throw new ToolError('The command line is empty. Say what to run.')
    const launch = explained(async () => {
      const { records, store, timeline, clock } = this.#ports
      await this.#parent(parentID)
      return this.#withID(async (id) => {
        const task = await records.create(
          { id, kind: 'command', run: 1, parentID, createdAt: clock.now(), ...request },
          [],
        )
        store.add(task)
        timeline.add(task.id, { type: 'queued' })
        return task
      })
    })
    return this.#ports.parents.of(parentID).launch('command', launch)
  }

  /**
   * Runs work that gives a parent one more unfinished task of an agent. Rejects with a `ToolError` if the
   * parent has too many, or if OpenCode fails.
   */
  async admitted<Result>(parentID: string, work: () => Promise<Result>): Promise<Result> {
    const parent = this.#ports.parents.of(parentID)
    this.#refuseTooMany(parent)
    return parent.launch('agent', explained(work))
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
    const launching = [...launches.values()].filter((kind) => kind === 'agent')
    const unfinished = [...tasks.unfinished()].filter(({ kind }) => kind === 'agent')
    const { maxTasksPerSession } = this.#limits
    if (unfinished.length + launching.length < maxTasksPerSession) return
    const ids = unfinished.map(({ id }) => id).join(', ')
    throw new ToolError(
      `This session has ${maxTasksPerSession} unfinished tasks, which is its limit: ${ids}. ` +
        'Wait for notices, or cancel some.',
      'tooManyTasks',
    )
  }

  async #model(
    { model, variant }: LaunchRequest,
    agent: Agent,
    parent: Session,
  ): Promise<TaskModel | undefined> {
    if (model !== undefined) {
      return { ...(await this.#ports.catalogue.model(model)), ...(variant !== undefined && { variant }) }
    }
    if (agent.model) return { ...agent.model, ...(agent.variant !== undefined && { variant: agent.variant }) }
    return modelOf(parent)
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

/**
 * Returns the permissions of a child. It inherits the parent's denials and directory rules, because a child
 * may do no more than its parent (contract 8.6). Tools are denied by name: a pattern matches others' tools.
 *
 * @param denied the tools to deny besides `CHILD_DENIES`
 */
function childRules({ permission = [] }: Session, denied: readonly string[]): PermissionRuleset {
  const inherited = permission.filter(
    (rule) => rule.action === 'deny' || rule.permission === 'external_directory',
  )
  const own = [...CHILD_DENIES, ...denied].map((name) => ({
    permission: name,
    pattern: '*',
    action: 'deny' as const,
  }))
  return [...inherited, ...own]
}

/** Returns the time limit of a command; `Infinity` becomes 0, because the JSON of records lacks it. */
function limitOf({ timeoutMs }: Pick<CommandWork, 'timeoutMs'>): number {
  if (timeoutMs >= 0) return timeoutMs === Infinity ? 0 : timeoutMs
  throw new ToolError(`timeoutMs: must be 0 (no limit) or more, and not ${timeoutMs}.`)
}

/** Turns a `HostError` into a `ToolError` from which the caller learns what to do. */
async function explained<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof HostError)) throw error
    // Only the caller's owner can change the password of the client.
    const advice = error.reason === 'unauthorized' ? '' : ' Try again.'
    throw new ToolError(`The task was not started: ${errorText(error)}.${advice}`, 'hostFailed', {
      cause: error,
    })
  }
}
