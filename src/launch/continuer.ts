/**
 * Says more to a task that exists. What becomes of it is decided by the state in which it arrives: a pending task gets
 * it in its prompt, a running one reads it at its next step, and one that has ended starts its next run.
 */
import type { Catalogue } from './catalogue.ts'
import type { Clock } from '../clock.ts'
import type { Launcher } from './launcher.ts'
import { errorText, HostError } from '../host/opencode.ts'
import type { AgentRunner } from '../work/agent/agent-runner.ts'
import { newPromptID, newSteerID } from '../task/id.ts'
import type { TaskRecords } from '../task/record.ts'
import type { TaskStore } from '../task/store.ts'
import { isEnded, type AgentTask, type EndedTask, type Task } from '../task/task.ts'
import { refuseEmptyPrompt, ToolError, unknownTask } from '../tool-error.ts'

/** What the next run has of its own. */
export interface NextRunOptions {
  readonly description?: string | undefined
  /** As `provider/model`. Only a task that has ended can go on with another. */
  readonly model?: string | undefined
  /** Where it is not the parent's model that says more. */
  readonly askedBy?: 'user' | undefined
}

/** How long a message that was taken over may need to be stored, and to start its turn; generous (contract 2.3). */
const STORED_WITHIN_MS = 1000

interface Ports {
  readonly catalogue: Catalogue
  readonly clock: Clock
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  readonly launcher: Launcher
  readonly records: TaskRecords
  readonly runner: AgentRunner
  readonly store: TaskStore
  /** Resolves when a task that is being started has been, or has ended. */
  readonly started: (taskID: string) => Promise<unknown>
  /** Resolves when a task that is being stopped has ended; `undefined` for one that is not. */
  readonly stopped: (taskID: string) => Promise<unknown> | undefined
  /** Queues a task that is pending anew. */
  readonly enqueue: (task: Task) => void
}

export class Continuer {
  readonly #ports: Ports

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /**
   * Resolves with the task as it then is, once that would outlive a crash. Rejects with a `ToolError` where it cannot be
   * done; nothing is lost then.
   */
  async continue(taskID: string, prompt: string, changes: NextRunOptions = {}): Promise<Task> {
    refuseEmptyPrompt(prompt)
    const task = await this.#say(taskID, prompt, changes)
    await this.#ports.records.written(task.sessionID)
    return this.#ports.store.get(taskID) ?? task
  }

  async #say(taskID: string, prompt: string, changes: NextRunOptions = {}): Promise<Task> {
    const { store, started, stopped } = this.#ports
    const task = store.get(taskID)
    if (!task) throw unknownTask(taskID)
    if (task.kind !== 'agent') {
      throw new ToolError(`${taskID} is a command, which reads nothing. Start another command.`, 'wrongState')
    }
    if (changes.model !== undefined && !isEnded(task)) {
      throw new ToolError(
        `${taskID} is at work on its model. Leave model out, or wait for its end.`,
        'wrongState',
      )
    }
    switch (task.status) {
      case 'pending':
        if (store.dispatch(taskID, { type: 'appended', prompt })) return store.get(taskID) ?? task
        break
      case 'starting':
        await started(taskID)
        break
      case 'running':
      case 'waiting': {
        const end = stopped(taskID)
        if (!end) return this.#steer(task, prompt)
        await end
        break
      }
      default:
        if (await this.#nextRun(task, prompt, changes)) return store.get(taskID) ?? task
    }
    // Another was faster, and the task is in another state now.
    return this.#say(taskID, prompt, changes)
  }

  async #steer(task: AgentTask, prompt: string): Promise<Task> {
    const { clock, runner, store } = this.#ports
    const promptID = newSteerID(task, clock.now())
    // From here on the run does not end before this is heard, unless something else ends it.
    if (!store.dispatch(task.id, { type: 'steered', promptID })) return this.#say(task.id, prompt)
    try {
      await runner.steer(task, { promptID, text: prompt })
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      throw new ToolError(`${task.id} was not told: ${errorText(error)}. Try again.`, 'hostFailed', {
        cause: error,
      })
    }
    const now = store.now(task)
    if (now.run !== task.run || !isEnded(now)) return now
    // It has ended all the same. What was said must not be worked on outside of the queue, once it is stored.
    await new Promise<void>((resolve) => {
      clock.after(STORED_WITHIN_MS, resolve)
    })
    await runner.abort(task)
    if (now.status === 'cancelled') {
      throw new ToolError(`${task.id} was cancelled meanwhile. Say it again to have it go on.`, 'wrongState')
    }
    await this.#nextRun(now, prompt, {}, promptID)
    return store.get(task.id) ?? now
  }

  /** False where another was faster: the task is under way again, or has had a run since. */
  #nextRun(
    task: EndedTask & AgentTask,
    said: string,
    { description, model: name, askedBy }: NextRunOptions,
    sentID?: string,
  ): Promise<boolean> {
    const { catalogue, clock, disposal, enqueue, launcher, records, store } = this.#ports
    return launcher.admitted(task.parentID, async () => {
      const model = name === undefined ? undefined : await catalogue.model(name)
      // What failed or was stopped in its first moments goes on with all that it was to hear.
      const prompt = (await records.revive(task)) ? said : `${task.prompt}\n\n${said}`
      if (store.get(task.id)?.run !== task.run) return false
      // The record of a run that nobody starts would take the place of this one's.
      if (disposal.aborted)
        throw new ToolError(`${task.id} was interrupted: OpenCode ends. Say it again then.`, 'wrongState')
      const createdAt = clock.now()
      const promptID = sentID ?? newPromptID({ id: task.id, run: task.run + 1 }, createdAt)
      const next = {
        prompt,
        promptIDs: [promptID] as const,
        createdAt,
        ...(description !== undefined && { description }),
        ...(model && { model }),
        ...(askedBy && { askedBy }),
      }
      if (!store.dispatch(task.id, { type: 'continued', next })) return false
      const pending = store.get(task.id)
      if (pending) enqueue(pending)
      return true
    })
  }
}
