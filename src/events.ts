/** Routes OpenCode's events and the changes of tasks to the rooms that observe them. */
import { isPersonal } from './host/message.ts'
import type { Observers } from './host/observers.ts'
import type { Session, SessionStatus } from './host/opencode.ts'
import type { Order } from './launch/order.ts'
import type { Parents } from './parent/parents.ts'
import type { Requests } from './requests.ts'
import type { ViewHint } from './setup/view-hint.ts'
import type { TaskRecords } from './task/records.ts'
import type { StoreListener, TaskStore } from './task/store.ts'
import type { Timeline } from './timeline.ts'
import type { AgentRunner } from './work/agent/agent-runner.ts'
import type { PermissionRequests } from './work/agent/permission-requests.ts'
import type { ProviderBackoff } from './work/agent/provider-backoff.ts'
import type { Executor } from './work/executor.ts'
import type { KindOf } from './work/kind.ts'

/** The rooms that observe. */
export interface ObservingRooms {
  readonly agents: AgentRunner
  readonly backoff: ProviderBackoff
  /** Stops a task that has spent its budget. */
  readonly checkBudget: (taskID: string) => void
  /** Aborted when the instance ends. */
  readonly disposal: AbortController
  readonly executor: Executor
  readonly kindOf: KindOf
  readonly order: Order
  readonly parents: Parents
  readonly permissions: PermissionRequests
  readonly records: TaskRecords
  readonly requests: Requests
  readonly store: TaskStore
  readonly timeline: Timeline
}

export function observersOf(rooms: ObservingRooms): Observers {
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
export function streamObserversOf(rooms: ObservingRooms): Observers {
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

export function sessionUpdated(
  { agents, parents, records, requests }: ObservingRooms,
  session: Session,
): void {
  parents.find(session.id)?.gate.observeSession(session)
  agents.observeSession(session)
  records.observeSession(session)
  requests.observeSession(session)
}

export function sessionDeleted(
  { agents, executor, kindOf, order, parents, store }: ObservingRooms,
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
  ObservingRooms,
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
