/** Routes OpenCode's events and the changes of tasks to the rooms that observe them. */
import { isPersonal } from './host/message.ts'
import type { Event, Session, SessionStatus } from './host/opencode.ts'
import type { Rooms } from './rooms.ts'
import type { ViewHint } from './setup/view-hint.ts'
import type { StoreListener } from './task/store.ts'

/** The observer of each event type. Synchronous; for a session that is not ours, it costs a lookup or two. */
export type Observers = {
  readonly [Type in Event['type']]?: (event: Extract<Event, { type: Type }>) => void
}

/** Passes an event to its observer, if it has one. */
export function observe(observers: Observers, event: { readonly type: string }): void {
  const observer = observers[event.type as Event['type']] as ((event: object) => void) | undefined
  observer?.(event)
}

export function observersOf(rooms: Rooms): Observers {
  const { agents, backoff, parents, permissions, requests, timeline } = rooms
  return {
    'session.created': ({ properties: { info } }) => {
      if (info.parentID === undefined) parents.observeCreated(info.id)
    },
    'session.updated': ({ properties: { info } }) => sessionUpdated(rooms, info),
    'session.status': ({ id, properties: { sessionID, status } }) => {
      parents.find(sessionID)?.gate.observeStatus(status.type, id)
      agents.observeStatus(sessionID, status)
      backoff.observeStatus(sessionID, status)
    },
    'session.error': ({ properties: { sessionID, error } }) => {
      if (sessionID === undefined) return
      parents.find(sessionID)?.gate.observeError(error?.name)
      agents.observeError(sessionID, error)
    },
    'session.deleted': ({ properties: { info } }) => sessionDeleted(rooms, info.id),
    'message.updated': ({ properties: { info } }) => {
      const parent = parents.find(info.sessionID)
      parent?.gate.observeMessage(info)
      parent?.outbox.observeMessage(info)
      agents.observeMessage(info)
    },
    'message.part.updated': ({ properties: { sessionID, part } }) => {
      parents.find(sessionID)?.outbox.observePart(part)
      timeline.observePart(part)
      agents.observeActivity(sessionID, part)
    },
    'message.part.delta': ({ properties: { sessionID } }) => agents.observeActivity(sessionID),
    'message.removed': ({ properties: { sessionID, messageID } }) =>
      parents.find(sessionID)?.outbox.observeRemoval(messageID),
    'permission.asked': ({ properties }) => permissions.observeAsked(properties),
    'permission.replied': ({ properties }) => permissions.observeReplied(properties.requestID),
    'tui.command.execute': ({ properties }) => requests.observeCommand(properties.command),
  }
}

interface PluginParts {
  readonly repeats: { observeStatus(sessionID: string, status: SessionStatus): void }
  readonly hint: ViewHint | undefined
}

/** Returns the observers of the plugin's parts outside of the manager. */
export function pluginObserversOf({ repeats, hint }: PluginParts): Observers {
  return {
    'session.created': ({ properties: { info } }) => hint?.observeCreated(info),
    'session.status': ({ properties: { sessionID, status } }) => repeats.observeStatus(sessionID, status),
    'tui.command.execute': ({ properties: { command } }) => hint?.observeCommand(command),
  }
}

/** Returns the observers for a process beside OpenCode, where no hook reports the end of an instance or a person's message. */
export function streamObserversOf(rooms: Rooms): Observers {
  const observers = observersOf(rooms)
  return {
    ...observers,
    'message.part.updated': (event) => {
      observers['message.part.updated']?.(event)
      const { sessionID, part } = event.properties
      if (isPersonal(part)) rooms.parents.find(sessionID)?.personStored(part.messageID)
    },
    'server.instance.disposed': () => {
      rooms.agents.observeInstanceEnd()
      rooms.parents.observeInstanceEnd()
    },
  }
}

export function sessionUpdated({ agents, parents, records, requests }: Rooms, session: Session): void {
  parents.find(session.id)?.gate.observeSession(session)
  agents.observeSession(session)
  records.observeSession(session)
  requests.observeSession(session)
}

export function sessionDeleted(
  { agents, executor, kindOf, order, parents, store }: Rooms,
  sessionID: string,
): void {
  parents.find(sessionID)?.gate.observeDeleted()
  agents.observeDeleted(sessionID)
  const task = store.findBySession(sessionID)
  if (!task) return
  void executor.cancel(task.id, 'user')
  order.observeDeleted(task)
  void kindOf(task).killLeftovers?.(task)
}

type TaskObservers = Pick<
  Rooms,
  'backoff' | 'checkBudget' | 'disposal' | 'order' | 'parents' | 'permissions' | 'records' | 'timeline'
>

/** Returns the listener that passes each change of a task to the rooms, in this order. */
export function taskObserver(rooms: TaskObservers): StoreListener {
  const { backoff, checkBudget, disposal, order, parents, permissions, records, timeline } = rooms
  return (task, event) => {
    // Followers end before the parent observes the end that they waited for, so that one notice reports all.
    order.observeTask(task, event)
    // The timeline records the step of an end before the steps of its notice.
    timeline.observeTask(task, event)
    if (!disposal.signal.aborted) {
      backoff.observeTask(task)
      permissions.observeTask(task)
    }
    parents.observeTask(task, event)
    // The record of an end is written after its notice was sent, because only the notice is awaited.
    records.observeTask(task, event, () => parents.find(task.parentID)?.outbox.sent())
    // A launch may have begun before the budget of its session was spent.
    if (task.status === 'pending') checkBudget(task.id)
  }
}
