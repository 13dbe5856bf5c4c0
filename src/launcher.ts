/** Decides whether a task can be launched, and creates it: its child session with the record, and its place in the store. */
import type { Clock } from './clock.ts'
import { errorText, HostError, type Agent, type Opencode, type Session } from './opencode.ts'
import { modelOf, type Gate } from './parent/gate.ts'
import { newTaskID } from './task/id.ts'
import type { TaskRecords } from './task/record.ts'
import type { TaskStore } from './task/store.ts'
import { isEnded, type Task } from './task/task.ts'
import { ToolError } from './tool-error.ts'

export interface LaunchRequest {
  readonly parentID: string
  readonly agent: string
  readonly prompt: string
  readonly description: string
}

/** What a child may not do: start work of its own, ask the user questions that nobody would see, or use our tools. */
const CHILD_DENIES = ['task', 'question', 'background_*', '*_background']

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly store: TaskStore
  readonly records: TaskRecords
  readonly gate: Gate
}

export class Launcher {
  readonly #ports: Ports
  readonly #limits: { readonly maxTasksPerSession: number }
  /** Launches whose child is being created, for each parent: they count against its limit already. */
  readonly #launching = new Map<string, number>()
  #agents: Promise<readonly Agent[]> | undefined

  constructor(ports: Ports, limits: { readonly maxTasksPerSession: number }) {
    this.#ports = ports
    this.#limits = limits
  }

  /** Rejects with a `ToolError` where the request cannot be met; nothing is created then. */
  async launch({ parentID, agent, prompt, description }: LaunchRequest): Promise<Task> {
    const { records, store, clock } = this.#ports
    const launching = this.#launching.get(parentID) ?? 0
    this.#refuseTooMany(parentID, launching)
    this.#launching.set(parentID, launching + 1)
    try {
      const [parent, agents] = await Promise.all([this.#parent(parentID), this.#listAgents()])
      const chosen = refuseUnknown(agent, agents)
      // A child whose agent has no model of its own runs on what its parent runs on just now.
      const model = chosen.model ? undefined : modelOf(parent)
      const task = await records.create(
        {
          id: this.#unusedID(),
          kind: 'agent',
          run: 1,
          parentID,
          agent,
          ...(model && { model }),
          description,
          prompt,
          createdAt: clock.now(),
        },
        CHILD_DENIES.map((permission) => ({ permission, pattern: '*', action: 'deny' })),
      )
      store.add(task)
      return task
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      throw new ToolError(`The task was not started: ${errorText(error)}. Try again.`)
    } finally {
      const left = (this.#launching.get(parentID) ?? 1) - 1
      if (left === 0) this.#launching.delete(parentID)
      else this.#launching.set(parentID, left)
    }
  }

  #refuseTooMany(parentID: string, launching: number): void {
    const unfinished = this.#ports.store.listByParent(parentID).filter((task) => !isEnded(task))
    const { maxTasksPerSession } = this.#limits
    if (unfinished.length + launching < maxTasksPerSession) return
    const ids = unfinished.map((task) => task.id).join(', ')
    throw new ToolError(
      `This session has ${maxTasksPerSession} unfinished tasks, which is its limit: ${ids}. ` +
        'Wait for notices, or stop some with background_cancel.',
    )
  }

  async #parent(parentID: string): Promise<Session> {
    const parent = await this.#ports.gate.session(parentID)
    if (parent.parentID === undefined) return parent
    throw new ToolError(
      'A sub-agent cannot start background tasks. Do this work yourself, or tell your caller.',
    )
  }

  async #listAgents(): Promise<readonly Agent[]> {
    this.#agents ??= this.#ports.opencode.agents()
    try {
      return await this.#agents
    } catch (error) {
      this.#agents = undefined
      throw error
    }
  }

  #unusedID(): string {
    const id = newTaskID()
    return this.#ports.store.get(id) ? this.#unusedID() : id
  }
}

function refuseUnknown(name: string, agents: readonly Agent[]): Agent {
  const available = agents.filter((agent) => agent.mode !== 'primary' && !agent.hidden)
  const chosen = available.find((agent) => agent.name === name)
  if (chosen) return chosen
  const names = available.map((agent) => agent.name).join(', ')
  const primary = agents.some((agent) => agent.name === name)
  const what = primary ? `Agent "${name}" cannot be used as a sub-agent.` : `There is no agent "${name}".`
  throw new ToolError(`${what} Available: ${names}.`)
}
