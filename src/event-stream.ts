/**
 * Follows OpenCode's event stream for a manager in another process. Loaded lazily, because each OpenCode would read this
 * code at its start. It is a bundle of its own, so that it tests no class of the manager's bundle by `instanceof`.
 */
import { observersOf, streamObserversOf } from './events.ts'
import { EventSubscription } from './host/event-subscription.ts'
import { observe, type Observers } from './host/observers.ts'
import type { Opencode } from './host/opencode.ts'
import { MissedEvents, type MissingRooms } from './missed-events.ts'
import type { Ports } from './ports.ts'
import type { Problems } from './setup/problems.ts'

/**
 * Follows the events of a session in another directory than ours, and of that directory's instance, until `signal`. Resolves
 * with the first subscription. Rejects with a `HostError` if OpenCode refuses it.
 */
export function followSession(
  rooms: MissingRooms,
  ports: Ports,
  sessionID: string,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const { agents, disposal, permissions, statuses } = rooms
  const observers: Observers = {
    ...observersOf(rooms),
    'server.instance.disposed': () => agents.observeInstanceEnd([sessionID]),
  }
  let isFirst = true
  const opencode: Pick<Opencode, 'events'> = {
    events: (onEvent, end) => ports.opencode.events(onEvent, end, directory),
  }
  const feed = new EventSubscription(
    { ...ports, opencode, disposal: AbortSignal.any([disposal.signal, signal]) },
    {
      onEvent: (event) => observe(observers, event),
      onConnected: () => {
        if (!isFirst) {
          agents.observeGap([sessionID])
          permissions.observeGap()
          statuses.pollNow()
        }
        isFirst = false
      },
      onRefused: ({ message }) => ports.log.warn(`${directory}: ${message}`),
    },
  )
  return feed.follow()
}

/** Resolves with the first subscription. Rejects with a `HostError` if OpenCode refuses it, and goes on trying. */
export function follow(rooms: MissingRooms, ports: Ports, problems: Problems): Promise<void> {
  const observers = streamObserversOf(rooms)
  const missed = new MissedEvents(rooms, { ...ports, isConnected: () => feed.isConnected() })
  const feed = new EventSubscription(
    { ...ports, disposal: rooms.disposal.signal },
    {
      onEvent: (event) => observe(observers, event),
      onConnected: () => missed.observeGap(),
      onRefused: ({ message }) => {
        if (problems.all.includes(message)) return
        problems.add(message)
        ports.log.warn(message)
      },
    },
  )
  rooms.parents.catchUp = (parent) => missed.catchUp(parent)
  return feed.follow()
}
