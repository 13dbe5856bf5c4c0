/** The OpenCode hooks through which a manager receives events, and adds notices to messages. */
import { observersOf } from './events.ts'
import { isPersonal, type MessageToRead } from './host/message.ts'
import { observe } from './host/observers.ts'
import type { NamedByClient } from './parent/headless-hold.ts'
import { unfinishedText } from './parent/notice-text.ts'
import type { Ports } from './ports.ts'
import type { Rooms } from './rooms.ts'
import type { Problems } from './setup/problems.ts'
import { isEnded } from './task/task.ts'
import type { ShellEnvInput, ShellEnvOutput } from './work/command/shell-env-hooks.ts'

/** An event as OpenCode passes it to the hook `event`. */
export interface PluginEvent {
  readonly id?: string
  readonly type: string
  readonly properties: object
}

/** The message that OpenCode is about to store, as it passes it to the hook `chat.message`. */
export interface NewMessage {
  readonly message: { readonly id: string; readonly time: { readonly created: number } }
  /** A hook may push further parts. */
  readonly parts: object[]
}

/** No hook rejects, because a rejection would cost the user the message or the turn. */
export interface ManagerHooks {
  /** Synchronous, and cheap for an event that concerns no task. Without it, only the poll detects ends. */
  readonly event: (input: { readonly event: PluginEvent }) => Promise<void>
  /** Piggybacks the pending notices of a session on the message that its user sends. */
  readonly 'chat.message': (
    input: { readonly sessionID: string } & NamedByClient,
    output: NewMessage,
  ) => Promise<void>
  /** Completes a notice that OpenCode is still storing part by part. */
  readonly 'experimental.chat.messages.transform': (
    input: object,
    output: { readonly messages: readonly MessageToRead[] },
  ) => Promise<void>
  /** Names the unfinished tasks to the model that summarizes a session. */
  readonly 'experimental.session.compacting': (
    input: { readonly sessionID: string },
    output: { readonly context: string[] },
  ) => Promise<void>
  /** Collects variables for the option `commands.shellEnv`. */
  readonly 'shell.env': (input: ShellEnvInput, output: ShellEnvOutput) => Promise<void>
  /**
   * Holds a turn of `opencode run`, which exits when its session is idle, until a notice continues the
   * session or the session has nothing to wait for, at most for the option `headless.waitMs`.
   */
  readonly 'experimental.text.complete': (input: { readonly sessionID: string }) => Promise<void>
  /** Records unfinished tasks as interrupted when the instance ends. */
  readonly dispose: () => Promise<void>
}

/** All events share one promise, so that an event that is not ours allocates nothing. */
const DONE = Promise.resolve()

export function hooksOf(
  rooms: Rooms,
  { log, isRun }: Pick<Ports, 'log' | 'isRun'>,
  problems: Problems,
  dispose: () => Promise<void>,
): ManagerHooks {
  const { continuer, disposal, parents, recovery, shellEnv, store } = rooms
  const observers = observersOf(rooms)
  return {
    event({ event }) {
      observe(observers, event)
      return DONE
    },
    async 'chat.message'({ sessionID, ...client }, { message, parts }) {
      try {
        if (!parts.some(isPersonal) || store.findBySession(sessionID)) return
        const parent = parents.of(sessionID)
        if (parent.outbox.isOurs(message.id)) return
        parent.endWaits()
        await recovery.recover(sessionID)
        await continuer.goOn(parent)
        // The next instance delivers the pending notices.
        if (disposal.signal.aborted) return
        problems.personWrote()
        parent.personWrote({ id: message.id, createdAt: message.time.created }, client)
        const notices = parent.outbox.piggyback(message.id)
        parts.push(...notices.map((part) => ({ ...part, sessionID, messageID: message.id, type: 'text' })))
      } catch (error) {
        log.warn(`notices could not be added to ${message.id}: ${String(error)}`)
      }
    },
    'experimental.chat.messages.transform'(_, { messages }) {
      const [first] = messages
      if (first) parents.find(first.info.sessionID)?.outbox.complete(messages)
      return DONE
    },
    'experimental.session.compacting'({ sessionID }, { context }) {
      const tasks = parents.find(sessionID)?.tasks.list() ?? []
      context.push(...unfinishedText(tasks.filter((task) => !isEnded(task))))
      return DONE
    },
    'shell.env'(input, output) {
      shellEnv.hear(input, output)
      return DONE
    },
    async 'experimental.text.complete'({ sessionID }) {
      // In a server, only a client that seems to be `opencode run --attach` is held.
      await parents.find(sessionID)?.hold.wait({ onlyForRun: !isRun })
    },
    dispose,
  }
}
