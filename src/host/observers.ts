/** The functions that receive OpenCode's events, by the type of event. */
import type { Event } from './opencode.ts'

/** The observer of each event type. Synchronous; for a session that is not ours, it costs a lookup or two. */
export type Observers = {
  readonly [Type in Event['type']]?: (event: Extract<Event, { type: Type }>) => void
}

/** Passes an event to its observer, if it has one. */
export function observe(observers: Observers, event: { readonly type: string }): void {
  const observer = observers[event.type as Event['type']] as ((event: object) => void) | undefined
  observer?.(event)
}
