/** The steps of a task, as its timeline keeps them in memory and its record keeps the newest ones. */
import type { TaskStatus } from './task.ts'

/** What changes a task. */
export type StepEvent =
  | 'slotTaken'
  | 'prompted'
  | 'appended'
  | 'steered'
  | 'outputMatched'
  | 'listening'
  | 'permissionAsked'
  | 'permissionUnanswered'
  | 'permissionReplied'
  | 'ended'
  | 'continued'

/**
 * `owed`: it is to be sent. `inherited`: it is owed from before a restart. `held`: a tool call of the parent reads the end.
 * `settled`: the call was stored, so that no notice is owed. `piggybacked`: it is part of the user's message.
 * `confirmed`: the parent's model has read it. `closed`: it waits for the user's next message, because the parent may not
 * be woken. `undone`: the user has undone the message. `unanswered`: no turn followed the user's message.
 * `gone`: the parent was deleted. `cancelled`: the parent has cancelled the task itself.
 */
export type NoticeStep =
  | 'owed'
  | 'inherited'
  | 'held'
  | 'settled'
  | 'piggybacked'
  | 'sent'
  | 'confirmed'
  | 'closed'
  | 'undone'
  | 'unanswered'
  | 'gone'
  | 'cancelled'

/** A step that happens now. Texts are one line. */
export type NewStep =
  | { readonly type: 'queued' }
  /** A process after a restart has found the task. */
  | { readonly type: 'recovered'; readonly status: TaskStatus }
  /** An event of the task, and its status after it. `detail` says what the event carries. */
  | {
      readonly type: 'transition'
      readonly event: StepEvent
      readonly status: TaskStatus
      readonly detail?: string
    }
  /** The first part of an answer in a run. */
  | { readonly type: 'answering' }
  | { readonly type: 'tool'; readonly tool: string; readonly state: 'running' | 'completed' | 'error' }
  /** The session was idle, and may go on. */
  | { readonly type: 'idle'; readonly detail: string }
  /** The provider is overloaded. */
  | { readonly type: 'retry'; readonly attempt: number; readonly message: string }
  /** A client has asked for it. */
  | { readonly type: 'request'; readonly request: 'cancel' | 'continue' | 'output' }
  | { readonly type: 'notice'; readonly notice: NoticeStep }

export type Step = NewStep & {
  /** Milliseconds since the Unix epoch; of repetitions that of the first. */
  readonly at: number
  /** How often it happened in a row. */
  readonly times: number
}
