/**
 * Follows OpenCode's event stream for a manager in another process. Loaded lazily, because each OpenCode would read this
 * code at its start. It is a bundle of its own, so that it tests no class of the manager's bundle by `instanceof`.
 */
import { observe, streamObserversOf } from './events.ts'
import { EventSubscription } from './host/event-subscription.ts'
import { MissedEvents } from './missed-events.ts'
import type { Ports, Rooms } from './rooms.ts'
import type { Problems } from './setup/problems.ts'

/** Resolves with the first subscription. Rejects with a `HostError` if OpenCode refuses it, and goes on trying. */
export function follow(rooms: Rooms, ports: Ports, problems: Problems): Promise<void> {
  const observers = streamObserversOf(rooms)
  const missed = new MissedEvents(rooms, ports)
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
  return feed.follow()
}
