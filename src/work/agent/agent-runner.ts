/** Runs an agent in its child session: prompts it, stops it where that is wanted, and reports how it ended. */
import type { Log } from '../../host/log.ts'
import { errorText, HostError, type Opencode, type Prompt } from '../../host/opencode.ts'
import type { TimelineWriter } from '../../timeline.ts'
import { isActive, NO_USAGE, type AgentTask, type Outcome } from '../../task/task.ts'
import type { TaskStore } from '../../task/store.ts'
import type { RunWatches } from './run-watches.ts'
import type { Ending } from './evidence.ts'
import type { RunWatch, Watched } from './run-watch.ts'
import type { Runner } from '../runner.ts'

export class AgentRunner implements Runner<AgentTask> {
  readonly #opencode: Opencode
  readonly #log: Log
  readonly #store: TaskStore
  readonly #watches: RunWatches
  readonly #timeline: TimelineWriter
  readonly #startTimeoutMs: number
  readonly #disposal: AbortSignal

  constructor(
    ports: {
      opencode: Opencode
      log: Log
      store: TaskStore
      watches: RunWatches
      timeline: TimelineWriter
      disposal: AbortSignal
    },
    startTimeoutMs: number,
  ) {
    this.#opencode = ports.opencode
    this.#log = ports.log
    this.#store = ports.store
    this.#watches = ports.watches
    this.#timeline = ports.timeline
    this.#startTimeoutMs = startTimeoutMs
    this.#disposal = ports.disposal
  }

  async run(task: AgentTask, onPrompted: () => void, signal: AbortSignal): Promise<Outcome> {
    const { sessionID } = task
    let stopped: ReturnType<Watched['stop']> = 'none'
    let loops = 0
    const stop = async (): Promise<void> => {
      if (stopped === 'underWay') return
      stopped = 'underWay'
      // A prompt that is on its way would start a turn behind the abort.
      await prompting
      await this.#abort(sessionID)
      stopped = 'done'
      watch.forgetIdle()
      watch.check()
    }
    const watch = this.#watches.watch({
      sessionID,
      promptIDs: () => {
        const now = this.#store.get(task.id)
        return now?.kind === 'agent' ? now.promptIDs : task.promptIDs
      },
      ...(task.maxSteps !== undefined && { maxSteps: task.maxSteps }),
      startTimeoutMs: this.#startTimeoutMs,
      stop: () => stopped,
      onDoubt: (what) => this.#timeline.add(task.id, what),
      onBusy: () => {
        if (signal.aborted || loops > 0) void stop()
      },
      onLoop: (answers) => {
        loops = answers
        void stop()
      },
    })
    const isWanted = (): boolean => !signal.aborted && !watch.isOver
    const prompting = this.#prompt(task, watch, onPrompted, isWanted)
    const onAbort = (): void => void stop()
    signal.addEventListener('abort', onAbort)
    const ending = await watch.ending
    signal.removeEventListener('abort', onAbort)
    // Deleting a session does not stop what runs in it (contract 1.11).
    if (ending.type === 'deleted') await this.#abort(sessionID)
    return loops > 0 && !signal.aborted ? loopedOutcome(ending, loops) : outcomeOf(ending, signal)
  }

  /**
   * Says something more to a running task: its model reads it at its next step. Rejects with a `HostError` where the
   * session cannot have heard it.
   */
  async steer(task: AgentTask, prompt: { readonly promptID: string; readonly text: string }): Promise<void> {
    const isAtWork = (): boolean => {
      const now = this.#store.get(task.id)
      return now?.run === task.run && isActive(now)
    }
    try {
      await this.#send(task.sessionID, promptOf(task, prompt.promptID, prompt.text), isAtWork)
    } catch (error) {
      if (!(error instanceof HostError) || error.reason !== 'noAnswer') throw error
      this.#log.warn(`${task.id}: ${error.message}; it may have been heard, so the session is watched`)
    }
  }

  /** Stops what runs in the session of a task; to be called outside of its runs. */
  abort({ sessionID }: AgentTask): Promise<void> {
    return this.#abort(sessionID)
  }

  /** Hands the prompt over. Whether it was heard, only the watch can tell; this reports what it cannot see. */
  async #prompt(
    task: AgentTask,
    watch: RunWatch,
    onPrompted: () => void,
    isWanted: () => boolean,
  ): Promise<void> {
    const prompt = promptOf(task, task.promptIDs[0], task.prompt)
    const nothing = { text: '', usage: NO_USAGE }
    try {
      await this.#send(task.sessionID, prompt, isWanted)
      onPrompted()
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') {
        watch.end({ ...nothing, type: 'deleted' })
      } else if (error instanceof HostError && error.reason === 'noAnswer') {
        this.#log.warn(`${task.id}: ${error.message}; it may have been heard, so the session is watched`)
        onPrompted()
        watch.check()
      } else {
        watch.end({ ...nothing, type: 'failed', failure: { reason: 'error', message: errorText(error) } })
      }
    }
  }

  /** Sends once more where no answer came: the message has an id of ours, so that it is stored once all the same. */
  async #send(sessionID: string, prompt: Prompt, isWanted: () => boolean): Promise<void> {
    try {
      await this.#opencode.prompt(sessionID, prompt)
    } catch (error) {
      if (!(error instanceof HostError) || error.reason !== 'noAnswer' || !isWanted()) throw error
      await this.#opencode.prompt(sessionID, prompt)
    }
  }

  async #abort(sessionID: string): Promise<void> {
    // What runs there by now may be the next instance's.
    if (this.#disposal.aborted) return
    try {
      await this.#opencode.abort(sessionID)
    } catch (error) {
      // It is tried again when the next event or poll shows the session at work.
      this.#log.warn(`could not abort session ${sessionID}: ${errorText(error)}`)
    }
  }
}

function promptOf(task: AgentTask, promptID: string, text: string): Prompt {
  return {
    messageID: promptID,
    agent: task.agent,
    ...(task.model && { model: task.model }),
    // The id of the message is unique, and so is what follows from it.
    parts: [{ id: promptID.replace(/^msg/, 'prt'), text, synthetic: false }],
  }
}

/** A run that we have given up; one that came to its own end all the same has that. */
function loopedOutcome(ending: Ending, answers: number): Outcome {
  const isOwn = ending.type === 'deleted' || (ending.type === 'answered' && !ending.incomplete)
  if (isOwn) return outcomeOf(ending, NOT_STOPPED)
  const { text, usage } = ending
  const message = `stopped: its model answered ${answers} times in a row without an end or a tool call, as when its provider sends something else`
  return { status: 'failed', failure: { reason: 'empty', message }, text, usage }
}

const NOT_STOPPED = new AbortController().signal

function outcomeOf(ending: Ending, signal: AbortSignal): Outcome {
  const { text, usage } = ending
  const by = signal.aborted && signal.reason !== 'user' ? 'parent' : 'user'
  switch (ending.type) {
    case 'answered':
      return { status: 'completed', text, usage, ...(ending.incomplete && { incomplete: ending.incomplete }) }
    case 'aborted':
    case 'deleted':
      return { status: 'cancelled', by, text, usage }
    case 'failed':
      // A session that was told to stop and then stays idle has stopped.
      if (signal.aborted && ending.failure.reason === 'timeout')
        return { status: 'cancelled', by, text, usage }
      return { status: 'failed', failure: ending.failure, text, usage }
  }
}
