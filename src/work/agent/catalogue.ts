/** Looks up agents, models and the tools of primary agents at the host, each list once for an instance of OpenCode. */
import type { Agent, Opencode, Provider } from '../../host/opencode.ts'
import type { TaskModel } from '../../task/state.ts'
import { listed } from '../../text/format.ts'
import { ToolError } from '../../tool-error.ts'

/** How many names an error lists. */
const LISTED = 12

interface Lists {
  readonly agents: () => Promise<readonly Agent[]>
  readonly providers: () => Promise<readonly Provider[]>
  readonly primaryTools: () => Promise<readonly string[]>
}

function listsOf(opencode: Opencode): Lists {
  return {
    agents: once(() => opencode.agents()),
    providers: once(() => opencode.providers()),
    primaryTools: once(() => opencode.primaryTools()),
  }
}

export class Catalogue {
  readonly #opencode: Opencode
  #lists: Lists

  constructor(opencode: Opencode) {
    this.#opencode = opencode
    this.#lists = listsOf(opencode)
  }

  /** Observes that events were missed: OpenCode may have been restarted with another configuration. */
  observeGap(): void {
    this.#lists = listsOf(this.#opencode)
  }

  /** Returns the configured providers with their models. Rejects with a `HostError`. */
  providers(): Promise<readonly Provider[]> {
    return this.#lists.providers()
  }

  /** Returns the names of the tools that no sub-agent gets. Rejects with a `HostError`. */
  primaryTools(): Promise<readonly string[]> {
    return this.#lists.primaryTools()
  }

  /** Returns the names of the agents that can run a task, without hidden ones. Rejects with a `HostError`. */
  async subagents(): Promise<readonly string[]> {
    return (await this.#lists.agents()).filter(isListed).map(({ name }) => name)
  }

  /**
   * Returns the sub-agent of a name. Its case, blanks, hyphens, underscores and invisible characters, which
   * some plugins prepend for sorting, may differ if only one agent matches. A hidden agent can be named but is
   * not listed, as in OpenCode's `task`. Otherwise rejects with a `ToolError` that lists the agents.
   */
  async agent(name: string): Promise<Agent> {
    const agents = await this.#lists.agents()
    const likeIt = agents.filter((agent) => bare(agent.name) === bare(name))
    const chosen = agents.find((agent) => agent.name === name) ?? only(likeIt)
    if (chosen && isSubagent(chosen)) return chosen
    const names = agents.filter(isListed).map((agent) => agent.name)
    const what = chosen ? `Agent "${name}" cannot be used as a sub-agent.` : `There is no agent "${name}".`
    throw new ToolError(`${what} Available: ${names.join(', ')}.`, 'unknownAgent')
  }

  /**
   * Returns the model of a name in the form `provider/model`. Its case may differ, and its provider may be
   * omitted, if only one model matches. Otherwise rejects with a `ToolError` that lists models or providers.
   */
  async model(name: string): Promise<TaskModel> {
    const providers = await this.#lists.providers()
    const models = providers.flatMap(({ id, models: own }) =>
      Object.keys(own).map((modelID) => ({ providerID: id, modelID })),
    )
    const inProvider = models.filter((model) => alike(fullName(model), name))
    const ofThatName = models.filter(({ modelID }) => alike(modelID, name))
    const chosen = models.find((model) => fullName(model) === name) ?? only(inProvider) ?? only(ofThatName)
    if (chosen) return chosen
    const unknown = (text: string): ToolError => new ToolError(text, 'unknownModel')
    if (ofThatName.length > 0)
      throw unknown(`Several providers have "${name}": ${listed(ofThatName.map(fullName), LISTED)}.`)
    const what = `There is no model "${name}".`
    const [providerID = ''] = name.split('/', 1)
    const ofProvider = models.filter((model) => model.providerID === providerID)
    if (ofProvider.length > 0)
      throw unknown(`${what} Models of ${providerID}: ${listed(ofProvider.map(fullName), LISTED)}.`)
    const form = name.includes('/') ? '' : ' Use the form provider/model.'
    const ids = providers.map(({ id }) => id)
    throw unknown(`${what}${form} Providers here: ${listed(ids, LISTED)}.`)
  }
}

function fullName({ providerID, modelID }: TaskModel): string {
  return `${providerID}/${modelID}`
}

/** Removes the differences between two spellings of a name. */
function bare(name: string): string {
  return name.toLowerCase().replaceAll(/[\p{Cf}\s_-]/gu, '')
}

function alike(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

function only<Item>(items: readonly Item[]): Item | undefined {
  return items.length === 1 ? items[0] : undefined
}

function isSubagent({ mode }: Agent): boolean {
  return mode !== 'primary'
}

function isListed(agent: Agent): boolean {
  return isSubagent(agent) && !agent.hidden
}

/** Calls `ask` once and caches the result. The call after a failure retries. */
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
