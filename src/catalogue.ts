/** What the host offers to work with: agents, models, and tools for primary agents alone; each is looked up once. */
import type { Agent, Opencode, Provider } from './opencode.ts'
import type { TaskModel } from './task/task.ts'
import { ToolError } from './tool-error.ts'

/** How many names an answer lists. */
const LISTED = 12

export class Catalogue {
  readonly #agents: () => Promise<readonly Agent[]>
  readonly #providers: () => Promise<readonly Provider[]>
  /** The names of the tools that no sub-agent gets. Rejects with a `HostError`. */
  readonly primaryTools: () => Promise<readonly string[]>

  constructor(opencode: Opencode) {
    this.#agents = once(() => opencode.agents())
    this.#providers = once(() => opencode.providers())
    this.primaryTools = once(() => opencode.primaryTools())
  }

  /** The names of the agents that can be handed a task. Rejects with a `HostError`. */
  async subagents(): Promise<readonly string[]> {
    return (await this.#agents()).filter(isListed).map(({ name }) => name)
  }

  /**
   * The sub-agent of a name, whose case does not matter where it is the only one of it. A hidden one can be named, and is
   * not listed, as with the host's own `task`. Rejects with a `ToolError` that lists the available ones where there is none.
   */
  async agent(name: string): Promise<Agent> {
    const agents = await this.#agents()
    const alike = agents.filter((agent) => agent.name.toLowerCase() === name.toLowerCase())
    const chosen = agents.find((agent) => agent.name === name) ?? (alike.length === 1 ? alike[0] : undefined)
    if (chosen && isSubagent(chosen)) return chosen
    const names = agents.filter(isListed).map((agent) => agent.name)
    const what = chosen ? `Agent "${name}" cannot be used as a sub-agent.` : `There is no agent "${name}".`
    throw new ToolError(`${what} Available: ${names.join(', ')}.`, 'unknownAgent')
  }

  /** The model of a name in the form `provider/model`. Rejects with a `ToolError` that lists some where there is none. */
  async model(name: string): Promise<TaskModel> {
    const [, providerID = '', modelID = ''] = /^([^/]*)\/(.*)$/.exec(name) ?? []
    const providers = await this.#providers()
    const provider = providers.find(({ id }) => id === providerID)
    if (!provider) {
      const form = name.includes('/') ? '' : ' It has the form provider/model.'
      const ids = some(providers.map(({ id }) => id))
      throw new ToolError(`There is no model "${name}".${form} Providers here: ${ids}.`, 'unknownModel')
    }
    if (Object.hasOwn(provider.models, modelID)) return { providerID, modelID }
    const models = some(Object.keys(provider.models).map((id) => `${providerID}/${id}`))
    throw new ToolError(`There is no model "${name}". Models of ${providerID}: ${models}.`, 'unknownModel')
  }
}

function isSubagent({ mode }: Agent): boolean {
  return mode !== 'primary'
}

function isListed(agent: Agent): boolean {
  return isSubagent(agent) && !agent.hidden
}

function some(names: readonly string[]): string {
  const rest = names.length - LISTED
  return names.slice(0, LISTED).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}

/** Asks at the first call, and again after a failure. */
function once<Found>(ask: () => Promise<Found>): () => Promise<Found> {
  let asked: Promise<Found> | undefined
  return async () => {
    asked ??= ask()
    try {
      return await asked
    } catch (error) {
      asked = undefined
      throw error
    }
  }
}
