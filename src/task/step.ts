/** The steps of a task: its timeline stores them in memory, its record the newest ones. */
import type { TaskStatus } from './state.ts'

/** How many of the newest steps a record stores. */
export const RECORDED_STEPS = 40

/** The events of `TaskEvent`, as steps. */
export type StepEvent =
  | 'slotTaken'
  | 'prompted'
  | 'appended'
  | 'released'
  | 'steered'
  | 'outputMatched'
  | 'monitored'
  | 'listening'
  | 'placed'
  | 'contactLost'
  | 'contactFound'
  | 'permissionAsked'
  | 'permissionUnanswered'
  | 'permissionReplied'
  | 'ended'
  | 'treeRemoved'
  | 'continued'

/**
 * `owed`: the notice must be sent. `inherited`: owed from before a restart. `held`: a tool call of the parent
 * reads the end. `settled`: the call was stored, so that no notice is owed. `piggybacked`: the notice is part
 * of the user's message. `confirmed`: the parent's model has read it. `closed`: it waits for the user's next
 * message, because the parent may not be woken. `undone`: the user has undone the message. `unanswered`: no
 * turn followed the user's message. `gone`: the parent was deleted. `cancelled`: the parent cancelled the
 * task itself.
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

/** A step without its time. Texts are one line. */
export type NewStep =
  | { readonly type: 'queued' }
  /** The task waits for others before it is queued. `detail` has their ids. */
  | { readonly type: 'waits'; readonly detail: string }
  /** The plugin found the task after a restart. */
  | { readonly type: 'recovered'; readonly status: TaskStatus }
  /** An event of the task, and its status after it. `detail` is the event's data. */
  | {
      readonly type: 'transition'
      readonly event: StepEvent
      readonly status: TaskStatus
      readonly detail?: string
    }
  /** The first part of an answer in a run arrived. */
  | { readonly type: 'answering' }
  | { readonly type: 'tool'; readonly tool: string; readonly state: 'running' | 'completed' | 'error' }
  /** The session became idle, and may continue. */
  | { readonly type: 'idle'; readonly detail: string }
  /** The provider is overloaded. */
  | { readonly type: 'retry'; readonly attempt: number; readonly message: string }
  /** A client sent a request. */
  | {
      readonly type: 'request'
      readonly request: 'cancel' | 'continue' | 'output' | 'check' | 'apply' | 'remove'
    }
  | { readonly type: 'notice'; readonly notice: NoticeStep }

export type Step = NewStep & {
  /** Milliseconds since the Unix epoch; for repetitions the time of the first. */
  readonly at: number
  /** The number of consecutive repetitions. */
  readonly times: number
}
