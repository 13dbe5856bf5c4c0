/**
 * Recognises repeated tool calls. When the model's answer breaks off after a tool call, OpenCode calls the
 * model again for this message, without the result of the tool call (seen): a launch would be made twice.
 */
import type { SessionStatus } from '../host/opencode.ts'
import type { ToolContext } from './tool-ports.ts'

/** The data of calls. */
type Calls = Map<string, Promise<unknown>[]>

interface Step {
  readonly messageID: string
  /** The results from before the latest retry, by tool and arguments, oldest first. */
  readonly before: Calls
  readonly since: Calls
}

/** How many sessions have their newest message stored; the one with the oldest call is removed first. */
const SESSIONS = 100

export class Repeats {
  readonly #steps = new Map<string, Step>()

  observeStatus(sessionID: string, { type }: SessionStatus): void {
    if (type !== 'retry') return
    const step = this.#steps.get(sessionID)
    if (!step) return
    for (const [call, results] of step.since) addTo(step.before, call, ...results)
    step.since.clear()
  }

  /** Makes a call, or returns the data that an equal call had before the retry. */
  once<Data>(
    tool: string,
    args: object,
    { sessionID, messageID }: Pick<ToolContext, 'sessionID' | 'messageID'>,
    work: () => Promise<Data>,
  ): Promise<Data> {
    const step = this.#step(sessionID, messageID)
    const call = JSON.stringify([tool, args])
    // An equal call of the same tool had data of the same type.
    const result = (step.before.get(call)?.shift() as Promise<Data> | undefined) ?? work()
    addTo(step.since, call, result)
    // A refusal is not reused, because it may be out of date by then.
    result.catch(() => removeFrom(step, call, result))
    return result
  }

  #step(sessionID: string, messageID: string): Step {
    const known = this.#steps.get(sessionID)
    if (known?.messageID === messageID) return known
    const step = { messageID, before: new Map(), since: new Map() }
    this.#steps.delete(sessionID)
    this.#steps.set(sessionID, step)
    const [oldest] = this.#steps.keys()
    if (this.#steps.size > SESSIONS && oldest !== undefined) this.#steps.delete(oldest)
    return step
  }
}

function addTo(calls: Calls, call: string, ...results: readonly Promise<unknown>[]): void {
  calls.set(call, [...(calls.get(call) ?? []), ...results])
}

function removeFrom({ before, since }: Step, call: string, result: Promise<unknown>): void {
  for (const calls of [before, since]) {
    calls.set(
      call,
      (calls.get(call) ?? []).filter((each) => each !== result),
    )
  }
}
