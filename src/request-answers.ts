/**
 * Executes the requests that `requests.ts` receives. Loaded lazily, because each OpenCode would read this code at its start.
 * It is a bundle of its own, so that it tests no class of the manager's bundle by `instanceof`.
 */
import { dirname, join } from 'node:path'
import { errorText, type Opencode } from './host/opencode.ts'
import type { Continuer } from './launch/continuer.ts'
import type { Recovery } from './restart/recovery.ts'
import type { RequestReply, TaskRequest } from './task/request.ts'
import type { TaskStore } from './task/store.ts'
import { isLost, type Task } from './task/task.ts'
import { appliedText } from './text/applied-text.ts'
import { cutMiddle } from './text/format.ts'
import type { TimelineWriter } from './timeline.ts'
import type { Executor } from './work/executor.ts'
import type { KindOf } from './work/kind.ts'
import type { Machine } from './work/command/this-machine.ts'
import type { WorktreeRuns } from './worktree/worktree-runs.ts'

export interface AnswerPorts {
  readonly continuer: Continuer
  readonly executor: Executor
  readonly kindOf: KindOf
  readonly machine: Machine
  readonly opencode: Opencode
  readonly recovery: Recovery
  readonly store: TaskStore
  readonly timeline: TimelineWriter
  readonly worktrees: () => Promise<WorktreeRuns>
}

/** Limit of an answer, which stays in the session's metadata and is read by every client with the session. */
const OUTPUT_BYTES = 4000
/** How many paths an answer names, because a dialog or a toast shows them. */
const PATHS = 10

/** Resolves with the answer to a request; `undefined` where another process has to answer. Rejects with a `HostError`. */
export async function answer(
  ports: AnswerPorts,
  sessionID: string,
  parentID: string,
  request: TaskRequest,
): Promise<RequestReply | undefined> {
  const { recovery, store, timeline } = ports
  const { kind } = request
  if (kind === 'look') {
    await recovery.refreshRecords(parentID)
    return { ok: true, text: 'The records are up to date.' }
  }
  if (kind === 'timeline') return timelineReply(ports, parentID)
  if (!store.findBySession(sessionID)) await recovery.recover(parentID)
  const task = store.findBySession(sessionID)
  // Another process owns the task and does not observe this request: the UI reports no answer.
  if (!task) return undefined
  const reply = await replyTo(ports, task, { ...request, kind })
  timeline.add(task.id, { type: 'request', request: kind })
  return reply
}

async function timelineReply({ machine, opencode }: AnswerPorts, parentID: string): Promise<RequestReply> {
  const { writeTimeline } = await import('./session-timeline/timeline-file.ts')
  const file = join(dirname(machine.root), 'timelines', `${parentID}.html`)
  try {
    const isOpen = await writeTimeline(opencode, parentID, file, { open: true })
    return { ok: true, text: `The timeline is ${isOpen ? 'open in your browser' : 'written'}: ${file}` }
  } catch (error) {
    return { ok: false, text: `The timeline could not be written: ${errorText(error)}` }
  }
}

async function replyTo(
  { continuer, executor, kindOf, store, worktrees }: AnswerPorts,
  task: Task,
  {
    run,
    kind,
    prompt = '',
  }: TaskRequest & { readonly kind: Exclude<TaskRequest['kind'], 'look' | 'timeline'> },
): Promise<RequestReply> {
  if (run !== task.run) return { ok: false, text: `${task.id} has started another run since.` }
  try {
    switch (kind) {
      case 'cancel': {
        const ended = await executor.cancel(task.id, 'user')
        const later =
          ended && isLost(ended) ? ' Its machine does not answer; it is stopped when that does.' : ''
        return {
          ok: ended?.status === 'cancelled',
          text: `${task.id} is ${ended?.status ?? 'unknown'}.${later}`,
        }
      }
      case 'continue': {
        const next = await continuer.continue(task.id, prompt, { askedBy: 'user' })
        return { ok: true, text: `${next.id} is ${next.status}, run ${next.run}.` }
      }
      case 'output': {
        const its = kindOf(task)
        // An agent that has said nothing has no output; a command may have written none.
        const text =
          its.textOf?.(task, OUTPUT_BYTES) ?? ((await its.report(task, {})).transcript?.text || undefined)
        if (text === undefined) return { ok: false, text: `${task.id} has no output.` }
        return { ok: true, text: cutMiddle(text, OUTPUT_BYTES, (n) => `… ${n} bytes …`) }
      }
      case 'check':
      case 'apply': {
        const applied = await (await worktrees()).apply(task, kind === 'check')
        const ok = applied.type === 'clean' || applied.type === 'applied'
        return { ok, text: appliedText({ task, applied }, PATHS) }
      }
      case 'remove': {
        const { branch, commit } = await (await worktrees()).remove(task)
        store.dispatch(task.id, { type: 'treeRemoved', commit })
        return { ok: true, text: `The branch was removed. To restore it: git branch ${branch} ${commit}` }
      }
    }
  } catch (error) {
    return { ok: false, text: errorText(error) }
  }
}
