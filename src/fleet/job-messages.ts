/** The messages to an agent at work: it is handed each once, in their order, and the queue is told which it reads. */
import { errorText } from '../host/opencode.ts'
import type { Message } from './port.ts'
import type { RunningJob } from './running-job.ts'

export class JobMessages {
  readonly #onFailure: (why: string) => void
  readonly #said = new Set<string>()
  #heard: readonly string[] = []
  #handed = Promise.resolve()

  constructor(onFailure: (why: string) => void) {
    this.#onFailure = onFailure
  }

  /** The ids of the messages that the agent reads, as far as the queue does not know about it. */
  get heard(): readonly string[] {
    return this.#heard
  }

  /** Resolves when no message is on its way to the agent. */
  get handed(): Promise<void> {
    return this.#handed
  }

  /** Observes that the queue knows which messages the agent reads. */
  observeTold(ids: readonly string[]): void {
    this.#heard = this.#heard.filter((id) => !ids.includes(id))
  }

  /** Does nothing without an agent: the next beat brings the message again. */
  hand(run: RunningJob | undefined, { id, text }: Message): void {
    if (!run || this.#said.has(id)) return
    this.#said.add(id)
    this.#handed = this.#handAfter(this.#handed, run, { id, text })
  }

  async #handAfter(earlier: Promise<void>, run: RunningJob, { id, text }: Message): Promise<void> {
    await earlier
    try {
      // The end of the job has what an ended agent did not hear.
      if (await run.say(text)) this.#heard = [...this.#heard, id]
    } catch (error) {
      this.#said.delete(id)
      this.#onFailure(errorText(error))
    }
  }
}
