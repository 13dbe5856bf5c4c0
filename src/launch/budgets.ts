/**
 * Holds tasks and sessions to their budgets. Counts at the end of each step, from what is followed already, how much of a budget
 * is used; tells agents once when one is nearly spent, and stops them when it is. A bundle of its own, because most tasks have no
 * budget; so it tests no class of the manager's bundle by `instanceof`, and its refusals are texts.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../host/log.ts'
import { errorText } from '../host/opencode.ts'
import type { Parents } from '../parent/parents.ts'
import {
  budgetKey,
  raised,
  runSpent,
  shareText,
  spendersText,
  spentBy,
  spentOf,
  spentTogether,
  stateOf,
  useText,
  type BudgetUse,
} from '../task/budget-use.ts'
import { haveSameKey, newBudgetSteerID } from '../task/id.ts'
import type { TaskRecords } from '../task/records.ts'
import type { TaskStore } from '../task/store.ts'
import type { Budget } from '../task/state.ts'
import { isActive, isEnded, type AgentTask, type Task } from '../task/task.ts'
import type { AgentRunner } from '../work/agent/agent-runner.ts'
import type { Catalogue } from '../work/agent/catalogue.ts'
import type { Executor } from '../work/executor.ts'

export interface BudgetPorts {
  readonly agents: AgentRunner
  readonly catalogue: Catalogue
  readonly clock: Clock
  readonly executor: Executor
  readonly log: Log
  readonly parents: Parents
  readonly records: TaskRecords
  readonly store: TaskStore
}

export class Budgets {
  readonly #ports: BudgetPorts
  /** The budget of each session; `undefined` for none. */
  readonly #session: Budget | undefined

  constructor(ports: BudgetPorts, session: Budget | undefined) {
    this.#ports = ports
    this.#session = session
  }

  /** Returns the budget of a task, and what is used of it; `undefined` for no budget. */
  ofTask(task: Task): BudgetUse | undefined {
    const { budget } = { budget: undefined, ...task }
    const { agents, clock } = this.#ports
    return budget && { budget, spent: spentOf(task, agents.usageOf(task.id), clock.now()) }
  }

  /** Returns the budget of a session, and what its tasks have used of it; `undefined` for no budget. */
  ofSession(parentID: string): BudgetUse | undefined {
    const { agents, clock, parents } = this.#ports
    const tasks = parents.find(parentID)?.tasks
    if (!this.#session || !tasks) return undefined
    const now = clock.now()
    const running = [...tasks.active()].map((task) => runSpent(task, agents.usageOf(task.id), now))
    return { budget: this.#session, spent: spentTogether([spentBy(tasks.used, tasks.workedMs), ...running]) }
  }

  /** Returns the budget of a task to which a prompt adds more; nothing for a prompt without a limit, as `{}`. */
  raised(task: AgentTask, more: Budget): Pick<AgentTask, 'budget'> {
    if (Object.keys(more).length === 0) return {}
    const { agents, clock } = this.#ports
    return { budget: raised(task.budget, more, spentOf(task, agents.usageOf(task.id), clock.now())) }
  }

  /** Returns why the next run of a task cannot start with its budget; `undefined` if it can. */
  refusal(task: Task): string | undefined {
    const own = this.ofTask(task)
    if (!own || stateOf(own) !== 'spent') return undefined
    return (
      `${task.id} has spent its budget: ${useText(own)}. Continue it with a budget, which is added to this one and must exceed ` +
      'what is used, or finish its work yourself.'
    )
  }

  /** Returns why a session can start no agent; `undefined` if it can. */
  sessionRefusal(parentID: string): string | undefined {
    const session = this.ofSession(parentID)
    if (!session || stateOf(session) !== 'spent') return undefined
    const { agents, clock, parents } = this.#ports
    const now = clock.now()
    const spenders = parents
      .of(parentID)
      .tasks.list()
      .map((task) => ({ id: task.id, spent: spentOf(task, agents.usageOf(task.id), now) }))
    return (
      `The tasks of this session have spent its budget: ${useText(session)}. Most of it: ${spendersText(session, spenders)}. ` +
      'Finish the work yourself, or ask the user to raise the option budget.session.'
    )
  }

  /**
   * Returns the model of a task whose cost is limited although OpenCode knows no prices of the model; `undefined` for any other
   * task. Rejects with a `HostError`.
   */
  async unpricedModel(task: Task): Promise<string | undefined> {
    if (task.kind !== 'agent' || !task.model) return undefined
    if (task.budget?.cost === undefined && this.#session?.cost === undefined) return undefined
    const { providerID, modelID } = task.model
    const provider = (await this.#ports.catalogue.providers()).find(({ id }) => id === providerID)
    const { input = 0, output = 0 } = provider?.models[modelID]?.cost ?? {}
    return input + output > 0 ? undefined : `${providerID}/${modelID}`
  }

  /** Tells or stops a task, and the others of its session, if a budget requires it. */
  check(taskID: string): void {
    const task = this.#ports.store.get(taskID)
    if (!task) return
    const tasks = this.#ports.parents.find(task.parentID)?.tasks
    const session = this.ofSession(task.parentID)
    const sessionState = session ? stateOf(session) : 'within'
    if (session && sessionState === 'spent') {
      const message = `stopped: the tasks of its session have spent the budget of the session, ${useText(session)}. Only the user can raise it (option budget.session)`
      for (const each of tasks?.unfinished() ?? []) this.#stop(each, message)
      return
    }
    if (session && sessionState === 'nearly') {
      const why = `The budget of the session that called you is nearly spent: ${useText(session)}.`
      for (const each of tasks?.active() ?? []) void this.#tell(each, why)
    }
    const own = isEnded(task) ? undefined : this.ofTask(task)
    const state = own ? stateOf(own) : 'within'
    if (own && state === 'spent') {
      this.#stop(
        task,
        `stopped: it has spent its budget, ${useText(own)}. A prompt with a further budget continues it`,
      )
    } else if (own && state === 'nearly')
      void this.#tell(task, `You have used ${shareText(own)}, your budget.`)
  }

  /** Stops an agent; one that has just given its final answer still completes. */
  #stop({ id, kind }: Task, message: string): void {
    if (kind === 'agent') this.#ports.executor.stop(id, { type: 'budget', message })
  }

  /**
   * Tells an agent at work to finish, once for a budget of its task. The id of the message says in the record that it was told,
   * so that a later process does not repeat it.
   */
  async #tell({ id }: Task, why: string): Promise<void> {
    const { agents, clock, executor, log, records, store } = this.#ports
    const task = store.get(id)
    if (task?.kind !== 'agent' || agents.isAnswered(task.sessionID) || executor.isStopping(id)) return
    const promptID = newBudgetSteerID(id, budgetKey(task.budget), clock.now())
    if (wasSent(task, promptID) || !store.dispatch(id, { type: 'steered', promptID, why: 'budget' })) return
    // A crash between the two calls loses the message, and does not send it twice.
    await records.written(task.sessionID)
    const now = store.get(id)
    if (now?.run !== task.run || !isActive(now) || executor.isStopping(id)) return
    const text = `[Automatic notice, not from the user. ${why} You are stopped when it is spent. Finish now with what you have: answer with your result so far, and name what is missing.]`
    try {
      await agents.steer(task, { promptID, text })
    } catch (error) {
      log.warn(`${id}: could not be told of its budget: ${errorText(error)}`)
    }
  }
}

function wasSent({ promptIDs, earlier = [] }: AgentTask, promptID: string): boolean {
  return [promptIDs, ...earlier.map((run) => run.promptIDs)]
    .flat()
    .some((sent) => haveSameKey(sent, promptID))
}
