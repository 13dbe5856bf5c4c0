/** Translates the events of a session on a machine into those of the task's own session. Pure. */
import { observe, type Observers } from '../host/observers.ts'
import type { Event } from '../host/opencode.ts'

/**
 * Returns the event as one of the session `own`; `undefined` if it is about another session than `placed`. Changes of the
 * session itself are left out, except its deletion, because its metadata is not that of the task.
 */
export function translated(event: Event, placed: string, own: string): Event | undefined {
  const { type, properties } = event as { readonly type: string; readonly properties: Properties }
  if (type === 'session.updated' || type === 'session.created') return undefined
  const { sessionID, info, part } = properties
  const about = sessionID ?? part?.sessionID ?? info?.sessionID ?? info?.id
  if (about !== placed) return undefined
  return {
    ...event,
    properties: {
      ...properties,
      ...(sessionID !== undefined && { sessionID: own }),
      ...(part && { part: { ...part, sessionID: own } }),
      ...(info && {
        info: info.sessionID === undefined ? { ...info, id: own } : { ...info, sessionID: own },
      }),
    },
  } as Event
}

interface Properties {
  readonly sessionID?: string
  readonly part?: { readonly sessionID: string }
  /** A message, or a session. */
  readonly info?: { readonly id: string; readonly sessionID?: string }
}

/** Returns a function that passes the events of a placed session to the observers of the plugin. */
export function passTo(observers: Observers, placed: string, own: string): (event: Event) => void {
  return (event) => {
    const its = translated(event, placed, own)
    if (its) observe(observers, its)
  }
}
