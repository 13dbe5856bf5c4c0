/**
 * Sends a further prompt to an existing task. A pending task appends it to its prompt, a running task reads
 * it at its next step, and an ended task starts its next run with it.
 */
import { fleetOf } from '../task/place.ts'
import type { Budgets } from './budgets.ts'
import type { Catalogue } from '../work/agent/catalogue.ts'
import type { Parent } from '../parent/parent.ts'
import { errorText, HostError, type Session } from '../host/opencode.ts'
import type { AfterRestartPorts } from './after-restart.ts'
import type { Order } from './order.ts'
import { traitsOf } from '../work/kinds.ts'
import type { AgentRunner } from '../work/agent/agent-runner.ts'
import { refuseBadBudget } from '../task/budget.ts'
import { dependenciesOf } from '../task/dependency.ts'
import { newPromptID, newSteerID } from '../task/id.ts'
import { readRecord } from '../task/record.ts'
import type { Budget } from '../task/state.ts'
import { isEnded, type AgentTask, type EndedTask, type Task } from '../task/task.ts'
import { refuseEmptyPrompt, ToolError, unknownTask } from '../tool-error.ts'

/** The properties that a caller can set for the next run. */
export interface NextRunOptions {
  readonly description?: string | undefined
  /** As `provider/model`. Only an ended task can change its model. */
  readonly model?: string | undefined
  /** Set if the user, not the parent's model, sends the prompt. */
  readonly askedBy?: 'user' | undefined
  /** Is added to the budget of the task. */
  readonly budget?: Budget | undefined
}

interface Ports extends Omit<AfterRestartPorts, 'enqueue' | 'ownerIn'> {
  readonly order: Order
  readonly budgets: () => Promise<Budgets>
  readonly catalogue: Catalogue
  /** Sends one more prompt to a running task, as `AgentRunner` does. */
  readonly runner: Pick<AgentRunner, 'steer'>
  /** Resolves when a starting task has started or ended. */
  readonly started: (taskID: string) => Promise<unknown>
  /** Resolves when a stopping task has ended; `undefined` for a task that is not stopping. */
  readonly stopped: (taskID: string) => Promise<unknown> | undefined
}

/** The budget of the task with what the prompt adds to it. */
type Budgeted = Pick<AgentTask, 'budget'>

export class Continuer {
  readonly #ports: Ports

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /**
   * Resolves with the current task once its record is written, because the prompt then outlives a crash.
   * Rejects with a `ToolError` if the task cannot accept the prompt; nothing is lost then.
   */
  async continue(taskID: string, prompt: string, changes: NextRunOptions = {}): Promise<Task> {
    refuseEmptyPrompt(prompt)
    refuseBadBudget(changes.budget)
    const task = await this.#ports.order.continue(taskID, this.#say(taskID, prompt, changes))
    await this.#ports.records.written(task.sessionID)
    return this.#ports.store.get(taskID) ?? task
  }

  /** Continues the tasks of a parent that a recovery has found cut off since the last call. Never rejects. */
  async goOn(parent: Parent): Promise<void> {
    if (parent.cutOff.length > 0) parent.goingOn = this.#goOn(parent)
    await parent.goingOn
  }

  async #goOn(parent: Parent): Promise<void> {
    const { cutOff } = parent
    parent.cutOff = []
    try {
      const { goOn } = await import('./after-restart.ts')
      const ports = {
        ...this.#ports,
        ownerIn: (session: Session) => readRecord(session)?.owner,
        enqueue: (task: Task) => this.#ports.order.enqueue(task),
      }
      await goOn(ports, parent, cutOff)
    } catch (error) {
      // The notices report the interruptions.
      this.#ports.log.warn(`${cutOff.join(', ')}: not continued after the restart: ${errorText(error)}`)
    }
  }

  async #say(taskID: string, prompt: string, changes: NextRunOptions = {}): Promise<Task> {
    const { store, started, stopped } = this.#ports
    const { budget } = changes
    const budgets = budget && (await this.#ports.budgets())
    const task = store.get(taskID)
    if (!task) throw unknownTask(taskID)
    if (!('prompt' in task)) {
      const { noun } = traitsOf(task)
      throw new ToolError(`${taskID} is a ${noun}, which reads nothing. Start another ${noun}.`, 'wrongState')
    }
    if (changes.model !== undefined && !isEnded(task)) {
      throw new ToolError(
        `${taskID} cannot change its model before its end. Omit model, or wait for the end.`,
        'wrongState',
      )
    }
    const budgeted = budgets ? budgets.raised(task, budget ?? {}) : {}
    switch (task.status) {
      case 'pending':
        if (store.dispatch(taskID, { type: 'appended', prompt, ...budgeted }))
          return store.get(taskID) ?? task
        break
      case 'starting':
        if (fleetOf(task)) return this.#steer(task, prompt, changes, budgeted)
        await started(taskID)
        break
      case 'running':
      case 'waiting': {
        const end = stopped(taskID)
        if (!end) return this.#steer(task, prompt, changes, budgeted)
        await end
        break
      }
      default:
        if (await this.#nextRun(task, prompt, changes, budgeted)) return store.get(taskID) ?? task
    }
    // The task changed during the wait, or this call lost a race: retry against the new state.
    return this.#say(taskID, prompt, changes)
  }

  async #steer(task: AgentTask, prompt: string, changes: NextRunOptions, budgeted: Budgeted): Promise<Task> {
    const { clock, runner, store } = this.#ports
    const promptID = newSteerID(task, clock.now())
    const again = budgeted.budget ? ' without the budget, which was added already' : ''
    // From here on the run completes only after its model has read the prompt; other causes can still end it.
    if (!store.dispatch(task.id, { type: 'steered', promptID, ...budgeted }))
      return this.#say(task.id, prompt, changes)
    try {
      if (await runner.steer(task, { promptID, text: prompt })) return store.now(task)
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      throw new ToolError(`The prompt was not sent: ${errorText(error)}. Try again${again}.`, 'hostFailed', {
        cause: error,
      })
    }
    const now = store.now(task)
    if (now.run !== task.run || !isEnded(now)) return now
    if (now.status === 'cancelled') {
      throw new ToolError(
        `${task.id} was cancelled meanwhile. Prompt it again${again} to continue.`,
        'wrongState',
      )
    }
    await this.#nextRun(now, prompt, {}, {}, promptID)
    return store.get(task.id) ?? now
  }

  /** Resolves with false if it lost the race: the task has started another run since, or was removed. */
  async #nextRun(
    task: EndedTask & AgentTask,
    said: string,
    { description, model: name, askedBy }: NextRunOptions,
    budgeted: Budgeted,
    sentID?: string,
  ): Promise<boolean> {
    const { catalogue, clock, disposal, launcher, order, records, store } = this.#ports
    const { budget = task.budget } = budgeted
    const refusal = budget && (await this.#ports.budgets()).refusal({ ...task, budget })
    if (refusal !== undefined) throw new ToolError(refusal, 'budgetSpent')
    return launcher.admitted(task.kind, task.parentID, async () => {
      const model = name === undefined ? undefined : await catalogue.model(name)
      // If the last run never saw its prompt, prepend that prompt.
      const prompt = (await records.revive(task)) ? said : `${task.prompt}\n\n${said}`
      await order.continued(dependenciesOf(task))
      if (store.get(task.id)?.run !== task.run) return false
      // The record of a run that never starts would replace the record of this run.
      if (disposal.aborted)
        throw new ToolError(`${task.id} was interrupted: OpenCode ends. Prompt it again later.`, 'wrongState')
      const createdAt = clock.now()
      const promptID = sentID ?? newPromptID({ id: task.id, run: task.run + 1 }, createdAt)
      const next = {
        prompt,
        promptIDs: [promptID] as const,
        createdAt,
        ...(description !== undefined && { description }),
        ...(model && { model }),
        ...(askedBy && { askedBy }),
        ...budgeted,
      }
      if (!store.dispatch(task.id, { type: 'continued', next })) return false
      const pending = store.get(task.id)
      if (pending) await order.enqueue(pending)
      return true
    })
  }
}
