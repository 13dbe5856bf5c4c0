/** The hooks of OpenCode by which a manager learns what happens in the host, and by which it speaks to it. */
import { observersOf } from './events.ts'
import type { MessageToRead } from './host/message.ts'
import type { Event } from './host/opencode.ts'
import type { NamedByClient } from './parent/headless-hold.ts'
import { unfinishedText } from './parent/notice.ts'
import type { Ports, Rooms } from './rooms.ts'
import type { Problems } from './setup/problems.ts'
import { isEnded } from './task/task.ts'
import type { ShellEnvInput, ShellEnvOutput } from './work/command/shell-env.ts'

/** An event as the hook `event` is given it. */
export interface PluginEvent {
  readonly id?: string
  readonly type: string
  readonly properties: object
}

/** What the hook `chat.message` is given of a message that is about to be stored. */
export interface NewMessage {
  readonly message: { readonly id: string; readonly time: { readonly created: number } }
  /** More can be pushed onto it. */
  readonly parts: object[]
}

/** None of them rejects: a rejection would cost the user the message, or the turn. */
export interface ManagerHooks {
  /** Synchronous, and cheap for an event that concerns no task. Without it, ends are noticed by the poll alone. */
  readonly event: (input: { readonly event: PluginEvent }) => Promise<void>
  /** Pending notices of a session join the message that its user sends. */
  readonly 'chat.message': (
    input: { readonly sessionID: string } & NamedByClient,
    output: NewMessage,
  ) => Promise<void>
  /** Completes a notice that OpenCode is still storing part by part. */
  readonly 'experimental.chat.messages.transform': (
    input: object,
    output: { readonly messages: readonly MessageToRead[] },
  ) => Promise<void>
  /** Names the unfinished tasks to the model that sums a session up. */
  readonly 'experimental.session.compacting': (
    input: { readonly sessionID: string },
    output: { readonly context: string[] },
  ) => Promise<void>
  /** For the option `commands.shellEnv`. */
  readonly 'shell.env': (input: ShellEnvInput, output: ShellEnvOutput) => Promise<void>
  /**
   * Holds a turn of `opencode run`, which exits when its session is idle, until the session has a notice to go on with or
   * nothing to wait for, at most for the option `headless.waitMs`.
   */
  readonly 'experimental.text.complete': (input: { readonly sessionID: string }) => Promise<void>
  /** The instance ends: unfinished tasks are recorded as interrupted. */
  readonly dispose: () => Promise<void>
}

/** One for all events: most are not ours, and must leave nothing behind. */
const DONE = Promise.resolve()

export function hooksOf(
  rooms: Rooms,
  { log, isRun }: Pick<Ports, 'log' | 'isRun'>,
  problems: Problems,
  dispose: () => Promise<void>,
): ManagerHooks {
  const { disposal, parents, recovery, shellEnv, store } = rooms
  const observers = observersOf(rooms)
  return {
    event({ event }) {
      const observe = observers[event.type as Event['type']] as ((event: PluginEvent) => void) | undefined
      observe?.(event)
      return DONE
    },
    async 'chat.message'({ sessionID, ...client }, { message, parts }) {
      try {
        if (!parts.some(isPersonal) || store.findBySession(sessionID)) return
        const parent = parents.of(sessionID)
        if (parent.outbox.isOurs(message.id)) return
        parent.waits.personWrote()
        await recovery.recover(sessionID)
        // The next instance delivers the pending notices.
        if (disposal.signal.aborted) return
        problems.personWrote()
        parent.personWrote({ id: message.id, createdAt: message.time.created }, client)
        const notices = parent.outbox.piggyback(message.id)
        parts.push(...notices.map((part) => ({ ...part, sessionID, messageID: message.id, type: 'text' })))
      } catch (error) {
        log.warn(`notices could not go along with ${message.id}: ${String(error)}`)
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

/**
 * What no person wrote is marked as synthetic: the notices of any plugin, and the host's own messages. What no model is to
 * read, as a plugin's note to the user, is marked as ignored.
 */
function isPersonal(part: object): boolean {
  const { synthetic, ignored } = part as { readonly synthetic?: unknown; readonly ignored?: unknown }
  return synthetic !== true && ignored !== true
}
