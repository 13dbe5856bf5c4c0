/** Runs an agent in its child session: prompts it, stops it where that is wanted, and reports how it ended. */
import type { Log } from '../log.ts'
import { errorText, HostError, type Opencode, type Prompt } from '../opencode.ts'
import { messageID, partID } from '../task/id.ts'
import { NO_USAGE, type Outcome, type UnfinishedTask } from '../task/task.ts'
import type { Detector } from './detector.ts'
import type { Ending } from './evidence.ts'
import type { RunWatch } from './run-watch.ts'
import type { Runner } from './runner.ts'

/**
 * How long a stopped session must stay idle before we believe that nothing more comes: an abort that meets a prompt
 * on its way does not prevent its turn, which then begins late (contract 4.8, 2.3).
 */
const STOPPED_AFTER_IDLE_MS = 2000

export class SessionRunner implements Runner {
  readonly #opencode: Opencode
  readonly #log: Log
  readonly #detector: Detector
  readonly #startTimeoutMs: number

  constructor(ports: { opencode: Opencode; log: Log; detector: Detector }, startTimeoutMs: number) {
    this.#opencode = ports.opencode
    this.#log = ports.log
    this.#detector = ports.detector
    this.#startTimeoutMs = startTimeoutMs
  }

  async run(task: UnfinishedTask, onPrompted: () => void, signal: AbortSignal): Promise<Outcome> {
    const { sessionID } = task
    let stopping = false
    const stop = async (): Promise<void> => {
      if (stopping) return
      stopping = true
      await this.#abort(sessionID)
      stopping = false
      watch.look()
    }
    const watch = this.#detector.watch({
      sessionID,
      promptID: promptIDOf(task),
      idleLimitMs: () => (signal.aborted ? STOPPED_AFTER_IDLE_MS : this.#startTimeoutMs),
      onBusy: () => {
        if (signal.aborted) void stop()
      },
    })
    const onAbort = (): void => void stop()
    signal.addEventListener('abort', onAbort)
    void this.#prompt(task, watch, onPrompted)
    const ending = await watch.ending
    signal.removeEventListener('abort', onAbort)
    // Deleting a session does not stop what runs in it (contract 1.11).
    if (ending.type === 'deleted') await this.#abort(sessionID)
    return outcomeOf(ending, signal.aborted)
  }

  /** Hands the prompt over. Whether it was heard, only the watch can tell; this reports what it cannot see. */
  async #prompt(task: UnfinishedTask, watch: RunWatch, onPrompted: () => void): Promise<void> {
    const id = promptIDOf(task)
    const prompt: Prompt = {
      messageID: id,
      agent: task.agent,
      ...(task.model && { model: task.model }),
      parts: [{ id: partID(id, task.createdAt), text: task.prompt, synthetic: false }],
    }
    const nothing = { text: '', usage: NO_USAGE }
    try {
      await this.#send(task.sessionID, prompt)
      onPrompted()
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') {
        watch.end({ ...nothing, type: 'deleted' })
      } else if (error instanceof HostError && error.reason === 'noAnswer') {
        this.#log.warn(`${task.id}: ${error.message}; it may have been heard, so the session is watched`)
        onPrompted()
        watch.look()
      } else {
        watch.end({ ...nothing, type: 'failed', failure: { reason: 'error', message: errorText(error) } })
      }
    }
  }

  /** Sends once more where no answer came: the message has an id of ours, so that it is stored once all the same. */
  async #send(sessionID: string, prompt: Prompt): Promise<void> {
    try {
      await this.#opencode.prompt(sessionID, prompt)
    } catch (error) {
      if (!(error instanceof HostError) || error.reason !== 'noAnswer') throw error
      await this.#opencode.prompt(sessionID, prompt)
    }
  }

  async #abort(sessionID: string): Promise<void> {
    try {
      await this.#opencode.abort(sessionID)
    } catch (error) {
      // It is tried again when the next event or poll shows the session at work.
      this.#log.warn(`could not abort session ${sessionID}: ${errorText(error)}`)
    }
  }
}

/** The id of the message that starts the run; the same each time it is computed. */
export function promptIDOf(task: {
  readonly id: string
  readonly run: number
  readonly createdAt: number
}): string {
  return messageID(`prompt ${task.id} ${task.run}`, task.createdAt)
}

function outcomeOf(ending: Ending, cancelled: boolean): Outcome {
  const { text, usage } = ending
  switch (ending.type) {
    case 'answered':
      return { status: 'completed', text, usage }
    case 'aborted':
    case 'deleted':
      return { status: 'cancelled', by: cancelled ? 'parent' : 'user', text, usage }
    case 'failed':
      // A session that was told to stop and then stays idle has stopped.
      if (cancelled && ending.failure.reason === 'timeout')
        return { status: 'cancelled', by: 'parent', text, usage }
      return { status: 'failed', failure: ending.failure, text, usage }
  }
}
