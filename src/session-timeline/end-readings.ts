/** Reads from a parent's messages when each end was reported to it, and when its model read it. Pure. */
import type { StoredMessage } from '../host/opencode.ts'
import { readKey } from '../parent/history.ts'
import { keyOf, piggybackKey } from '../parent/notice.ts'
import { keyDigest, keyDigestIn } from '../task/id.ts'
import { isEnded, type EndedTask, type Task } from '../task/task.ts'

export interface Readings {
  /** By the digest of a part's key: the times of its message, and of the model's first message after it. */
  readonly notices: ReadonlyMap<string, Reading>
  /** By the receipt: when the tool call that returned it ended. */
  readonly receipts: ReadonlyMap<string, number>
}

/** Times in milliseconds since the Unix epoch; absent if that has not happened, or no message shows it. */
export interface Reading {
  readonly noticedAt?: number
  readonly readAt?: number
}

export function readingsOf(messages: readonly StoredMessage[]): Readings {
  const notices = new Map<string, Reading>()
  const receipts = new Map<string, number>()
  let nextAnswerAt: number | undefined
  for (const { info, parts } of messages.toReversed()) {
    if (info.role === 'assistant') nextAnswerAt = info.time.created
    for (const part of parts) {
      if (part.type === 'tool' && part.state.status === 'completed') {
        const { backgroundRead } = part.state.metadata
        if (typeof backgroundRead === 'string') receipts.set(backgroundRead, part.state.time.end)
      } else if (part.type === 'text' && info.role === 'user') {
        const reading = {
          noticedAt: info.time.created,
          ...(nextAnswerAt !== undefined && { readAt: nextAnswerAt }),
        }
        notices.set(keyDigestIn(part.id), reading)
      }
    }
  }
  return { notices, receipts }
}

/** @param end the end of any run of a task */
export function readingOf(
  { notices, receipts }: Readings,
  end: Pick<EndedTask, 'id' | 'run' | 'status'>,
): Reading {
  const key = keyOf(end, 'ended')
  const notice = notices.get(keyDigest(key)) ?? notices.get(keyDigest(piggybackKey(key)))
  const receipt = receipts.get(readKey(end))
  const readAt = receipt ?? notice?.readAt
  return { ...notice, ...(readAt !== undefined && { readAt }) }
}

/** Whether the parent's model has not read the end of a task. Nobody needs to read the end of a cancelled one. */
export function isUnread(readings: Readings, task: Task): boolean {
  return isEnded(task) && task.status !== 'cancelled' && readingOf(readings, task).readAt === undefined
}
