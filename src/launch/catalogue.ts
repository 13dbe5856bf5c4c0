/** Looks up agents, models and the tools of primary agents at the host, each list once. */
import type { Agent, Opencode, Provider } from '../host/opencode.ts'
import type { TaskModel } from '../task/task.ts'
import { ToolError } from '../tool-error.ts'

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
   * The sub-agent of a name, or the only one whose name differs in its case, in blanks and hyphens, or in characters that
   * nobody sees, which some plugins put before names to sort them. A hidden one can be named, and is not listed, as with
   * the host's own `task`. Rejects with a `ToolError` that lists the available ones where there is none.
   */
  async agent(name: string): Promise<Agent> {
    const agents = await this.#agents()
    const likeIt = agents.filter((agent) => bare(agent.name) === bare(name))
    const chosen = agents.find((agent) => agent.name === name) ?? only(likeIt)
    if (chosen && isSubagent(chosen)) return chosen
    const names = agents.filter(isListed).map((agent) => agent.name)
    const what = chosen ? `Agent "${name}" cannot be used as a sub-agent.` : `There is no agent "${name}".`
    throw new ToolError(`${what} Available: ${names.join(', ')}.`, 'unknownAgent')
  }

  /**
   * The model of a name in the form `provider/model`, or the only one that differs from it in its case or has the name
   * without its provider. Rejects with a `ToolError` that lists some where there is none.
   */
  async model(name: string): Promise<TaskModel> {
    const providers = await this.#providers()
    const models = providers.flatMap(({ id, models: own }) =>
      Object.keys(own).map((modelID) => ({ providerID: id, modelID })),
    )
    const inProvider = models.filter((model) => alike(fullName(model), name))
    const ofThatName = models.filter(({ modelID }) => alike(modelID, name))
    const chosen = models.find((model) => fullName(model) === name) ?? only(inProvider) ?? only(ofThatName)
    if (chosen) return chosen
    const unknown = (text: string): ToolError => new ToolError(text, 'unknownModel')
    if (ofThatName.length > 0)
      throw unknown(`Several providers have "${name}": ${some(ofThatName.map(fullName))}.`)
    const what = `There is no model "${name}".`
    const [providerID = ''] = name.split('/', 1)
    const ofProvider = models.filter((model) => model.providerID === providerID)
    if (ofProvider.length > 0)
      throw unknown(`${what} Models of ${providerID}: ${some(ofProvider.map(fullName))}.`)
    const form = name.includes('/') ? '' : ' It has the form provider/model.'
    throw unknown(`${what}${form} Providers here: ${some(providers.map(({ id }) => id))}.`)
  }
}

function fullName({ providerID, modelID }: TaskModel): string {
  return `${providerID}/${modelID}`
}

/** A name without what two spellings of it may differ in. */
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
