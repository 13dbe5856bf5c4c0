/** Formats the output of a command for notices, tool answers and its session. */
import { errorText } from '../../host/opencode.ts'
import { mayWatch } from '../../text/exit-hint.ts'
import type { CommandTask } from '../../task/task.ts'
import { readTail, type CommandEnd, type Tail, type TailOptions } from './files.ts'
import { logPath, type Stream } from './logs.ts'

/** The ends of both streams. */
export type Streams = Readonly<Record<Stream, Tail>>

/** The state of a command at its end, besides its output. */
export interface Remains {
  /** Whether processes that it started still run. */
  readonly hasLeftovers: boolean
  /** Whether it awaits `notifyOn` texts and none has appeared. */
  readonly isUnmatched: boolean
}

/** The maximum shown of each stream: OpenCode passes twice that and some words untruncated. */
const MOST = { bytes: 22_000, lines: 900 }

/** A watcher that ends with its input ends right after its first build. */
const WATCHER_ENDS_MS = 60_000
const WATCHER_ADVICE =
  '[If it is a watcher: some exit when their input ends, and it had none. open_stdin: true keeps it open.]'

/** @param tail how much of each stream to read, capped at `MOST` */
export function readStreams(directory: string, tail: Partial<TailOptions> = {}): Streams {
  const bytes = Math.min(tail.bytes ?? MOST.bytes, MOST.bytes)
  const lines = Math.min(tail.lines ?? MOST.lines, MOST.lines)
  const read = (stream: Stream): Tail => {
    try {
      return readTail(directory, stream, { bytes, lines })
    } catch (error) {
      return { text: `(could not be read: ${errorText(error)})`, leftOutBytes: 0 }
    }
  }
  return { stdout: read('stdout'), stderr: read('stderr') }
}

/** Joins both streams, and states how much of each is omitted. */
export function streamsText(directory: string, streams: Streams): string {
  const [out = '', err = ''] = (['stdout', 'stderr'] as const).map((stream) => {
    const { text, leftOutBytes } = streams[stream]
    const before =
      leftOutBytes === 0
        ? ''
        : `[… ${leftOutBytes} bytes before this are in ${logPath(directory, stream)} …]\n`
    return text === '' ? '' : `${before}${text.replace(/\n+$/, '')}`
  })
  if (err === '') return out
  return out === '' ? `stderr:\n${err}` : `${out}\n\nstderr:\n${err}`
}

/** Whether a task awaits `notifyOn` texts and none has appeared. */
export function isUnmatched(task: CommandTask): boolean {
  return task.notifyOn.length > 0 && !task.notifyEvery && !('matched' in task && task.matched)
}

/** Returns lines about a command that has just ended, to follow its output. */
export function leftoversText(
  { hasLeftovers, isUnmatched: none }: Remains,
  killTool: string | undefined,
): string[] {
  if (!hasLeftovers) return none ? ['[None of its notify_on texts appeared.]'] : []
  const watched = none ? ' Their output is watched for its notify_on texts.' : ''
  const hint = killTool === undefined ? '' : `: ${killTool} ends them`
  return [`[It has left processes running${hint}.${watched}]`]
}

/** Returns advice if a command that has just ended may be a watcher that should have kept running. */
export function watcherText(task: CommandTask, end: CommandEnd, now: number): string[] {
  const ranMs = 'startedAt' in task && task.startedAt !== undefined ? now - task.startedAt : 0
  const isWell = end.type === 'exited' && end.code === 0
  const isWatcher = isWell && ranMs < WATCHER_ENDS_MS && !task.hasOpenInput && mayWatch(task.command)
  return isWatcher ? [WATCHER_ADVICE] : []
}

/** Joins the non-empty paragraphs. */
export function paragraphs(parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n\n')
}
