/**
 * May this parent be written to now, and as whom? A person may be at work there. Asked of the host once; from then on
 * the host's events keep the answer fresh, so that neither a launch nor a notice has to ask again.
 */
import { HostError, type Event, type Opencode, type Session } from '../opencode.ts'
import type { TaskModel } from '../task/task.ts'

export type Admission =
  /** Agent, model and variant of its last user message: a prompt without them would change them (contract 4.10). */
  | { readonly type: 'open'; readonly agent?: string; readonly model?: TaskModel }
  /** The user has undone messages: a prompt now would delete them for good (contract 4.15). */
  | { readonly type: 'reverted' }
  | { readonly type: 'gone' }

export class Gate {
  readonly #opencode: Opencode
  /** The parents that we know; `undefined` while the host is being asked. */
  readonly #sessions = new Map<string, Session | 'gone' | undefined>()

  constructor(opencode: Opencode) {
    this.#opencode = opencode
  }

  /** The parent as it is now. Rejects with a `HostError`: `notFound` where it does not exist. */
  async session(parentID: string): Promise<Session> {
    const known = this.#sessions.get(parentID)
    if (known === 'gone') throw new HostError('notFound', `Session ${parentID} was deleted`)
    if (known) return known
    this.#sessions.set(parentID, undefined)
    try {
      const asked = await this.#opencode.session(parentID)
      // An event that came meanwhile is newer than what was asked before it.
      const newest = this.#sessions.get(parentID) ?? asked
      this.#sessions.set(parentID, newest)
      return newest === 'gone' ? asked : newest
    } catch (error) {
      if (this.#sessions.get(parentID) === undefined) this.#sessions.delete(parentID)
      throw error
    }
  }

  /** Rejects with a `HostError` where the host does not say. */
  async admission(parentID: string): Promise<Admission> {
    try {
      const session = await this.session(parentID)
      if (session.revert) return { type: 'reverted' }
      const model = modelOf(session)
      return {
        type: 'open',
        ...(session.agent !== undefined && { agent: session.agent }),
        ...(model && { model }),
      }
    } catch (error) {
      if (error instanceof HostError && error.reason === 'notFound') return { type: 'gone' }
      throw error
    }
  }

  handleEvent(event: Event): void {
    switch (event.type) {
      case 'session.updated':
        if (this.#sessions.has(event.properties.info.id)) {
          this.#sessions.set(event.properties.info.id, event.properties.info)
        }
        return
      case 'session.deleted':
        if (this.#sessions.has(event.properties.info.id)) this.#sessions.set(event.properties.info.id, 'gone')
        return
      default:
        return
    }
  }
}

/** What a session runs on just now. A prompt that named no variant is kept as `default`, which none of them is. */
export function modelOf({ model }: Session): TaskModel | undefined {
  if (!model) return undefined
  const { id: modelID, providerID, variant } = model
  return { providerID, modelID, ...(variant !== undefined && variant !== 'default' && { variant }) }
}
