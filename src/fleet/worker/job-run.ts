/**
 * A job at work here: the task of its agent, in the terms of the queue. Its result has the changes as a bundle of git, and so has a
 * checkpoint.
 */
import type { Log } from '../../host/log.ts'
import { errorText } from '../../host/opencode.ts'
import { newSteerID } from '../../task/id.ts'
import { waitFor } from '../../task/wait-for.ts'
import { NO_USAGE } from '../../task/state.ts'
import { isActive, isEnded, type AgentTask, type EndedTask, type Task } from '../../task/task.ts'
import { systemClock } from '../../clock.ts'
import { makeBundle } from '../../worktree/bundles.ts'
import { checkpointOf as filesOf, dropTree } from '../../worktree/transport.ts'
import { checkpointOf, reportOf, resultOf, type Checkpoint, type Report, type Result } from '../payload.ts'
import type { RunningJob } from '../running-job.ts'
import type { Host } from './host.ts'

/** A job at work. */
export interface JobRun extends RunningJob {
  /** Resolves with the result when the agent has really stopped and its changes are a commit. Never rejects. */
  readonly result: Promise<Result>
  /** The present state of its task. */
  readonly task: () => AgentTask
  report(): Promise<Report>
  /** The present files as a commit, after `CHECKPOINT_MS` or `CHECKPOINT_CALLS` tool calls. Rejects with a `GitError`. */
  checkpoint(): Promise<Checkpoint | undefined>
}

/** The facts of a started job that are stored, so that the next process can resume it. */
export interface Begun {
  /** The task here. */
  readonly taskID: string
  /** The task of the launch. */
  readonly jobTaskID: string
  /** The commit from which the agent started. */
  readonly base: string
}

const CHECKPOINT_MS = 300_000
const CHECKPOINT_CALLS = 20
/** The length of an activity in a report: a tool's title can have any. */
const LONGEST_ACTIVITY = 300

/** @param onOver called when the agent has stopped, or its task is gone */
export function runOf(host: Host, log: Pick<Log, 'warn'>, begun: Begun, onOver: () => void): JobRun {
  const { taskID, jobTaskID, base } = begun
  const { checkout, git, opencode, rooms } = host
  const { agents, backoff, executor, kindOf, records, store, timeline } = rooms
  const now = (): AgentTask => store.get(taskID) as AgentTask
  const due = { commit: base, at: systemClock.monotonic(), calls: 0 }
  const stopCounting = timeline.subscribe((step, { id }) => {
    if (id === taskID && step.type === 'tool' && step.state !== 'running') due.calls += 1
  })
  /** The bundle that is being made: that of the end gets its ref after it. */
  let packing: Promise<unknown> = Promise.resolve()
  const result = resultAfterEnd(host, begun, () => packing).finally(() => {
    stopCounting()
    onOver()
  })
  return {
    result,
    task: now,
    async report() {
      const task = now()
      const { transcript } = await kindOf(task)
        .report(task, {})
        .catch(() => ({ transcript: undefined }))
      const activity = transcript?.activity?.what.slice(0, LONGEST_ACTIVITY)
      return reportOf({
        usage: agents.usageOf(taskID) ?? transcript?.usage ?? NO_USAGE,
        ...(activity !== undefined && { activity }),
        questions:
          task.status === 'waiting'
            ? task.permissionRequests.map(({ id, permission, patterns }) => ({
                id,
                permission,
                patterns: [...patterns],
              }))
            : [],
      })
    },
    backoff() {
      const { model, sessionID } = now()
      const retry = backoff.retryOf(sessionID)
      return model && retry && { providerID: model.providerID, forMs: retry.inMs }
    },
    async say(text) {
      const hasBegun = (task: Task): boolean => task.status !== 'starting'
      await waitFor({ store, clock: systemClock }, taskID, hasBegun)
      const task = now()
      const promptID = newSteerID(task, systemClock.now())
      // Never a next run: nobody would know of it.
      return store.dispatch(taskID, { type: 'steered', promptID }) && agents.steer(task, { promptID, text })
    },
    stop: () => executor.stop(taskID, { type: 'cancelled', by: 'parent' }),
    async checkpoint() {
      const { worktree } = now()
      const isDue = systemClock.monotonic() - due.at >= CHECKPOINT_MS || due.calls >= CHECKPOINT_CALLS
      if (!isDue || !worktree || !isActive(now())) return undefined
      due.at = systemClock.monotonic()
      due.calls = 0
      const commit = await filesOf(git, worktree, taskID)
      // The end, which may have come meanwhile, has all of it.
      if (commit === due.commit || !isActive(now())) return undefined
      due.commit = commit
      const made = makeBundle(git, checkout, { id: jobTaskID, name: 'out', commit }, [base])
      packing = made.catch(() => {})
      const bundle = await made
      return bundle && checkpointOf({ commit, bundle: base64(bundle.bytes) })
    },
    drop: async () => {
      const { sessionID, worktree } = now()
      try {
        // The next process finds no record, and so does not read the job again.
        await records.flush()
        await opencode.replaceMetadata(sessionID, {})
        // A tree whose changes could not be committed has the only copy of them.
        const isKept = (await result).code.type === 'kept'
        if (worktree && !isKept) await dropTree(git, worktree, [taskID, jobTaskID])
      } catch (error) {
        log.warn(`what ${jobTaskID} has left could not be removed: ${errorText(error)}`)
      }
    },
  }
}

async function resultAfterEnd(
  host: Host,
  { taskID, jobTaskID, base }: Begun,
  packing: () => Promise<unknown>,
): Promise<Result> {
  const { kindOf, parents, store } = host.rooms
  const ended = await waitFor({ store, clock: systemClock }, taskID, isEnded)
  if (!ended || !isEnded(ended)) throw new Error(`${taskID} was removed`)
  // The parent session of the agents has no reader.
  parents.find(ended.parentID)?.outbox.settle(ended)
  const report = await kindOf(ended)
    .report(ended, {})
    .catch(() => undefined)
  await packing()
  return resultOf({
    outcome: outcomeOf(ended),
    text: report?.transcript?.text ?? '',
    usage: ended.usage,
    code: await codeOf(host, ended as EndedTask & AgentTask, jobTaskID, base),
  })
}

/** Returns the changes of a run as a bundle. Where there can be none, the tree stays, and is named. */
async function codeOf(
  { checkout, git }: Host,
  { changes, worktree }: EndedTask & AgentTask,
  id: string,
  base: string,
): Promise<Result['code']> {
  const kept = (why: string): Result['code'] => ({
    type: 'kept',
    why: `in ${worktree?.root}: ${why}`,
  })
  if (changes?.type === 'failed') return kept(changes.message)
  if (changes?.type !== 'committed') return { type: 'none' }
  const { commit } = changes
  try {
    const bundle = await makeBundle(git, checkout, { id, name: 'out', commit }, [base])
    return { type: 'committed', commit, ...(bundle && { bundle: base64(bundle.bytes) }) }
  } catch (error) {
    return kept(errorText(error))
  }
}

function outcomeOf(ended: EndedTask): Result['outcome'] {
  switch (ended.status) {
    case 'completed': {
      const { incomplete, question } = ended
      return {
        status: 'completed',
        ...(incomplete && { incomplete }),
        ...(question !== undefined && { question }),
      }
    }
    case 'failed':
      return { status: 'failed', failure: ended.failure }
    case 'cancelled':
      return { status: 'cancelled' }
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
