/**
 * Holds the tasks that wait for others (`after`), outside of the queue. Loaded lazily, for the first of them.
 *
 *   waiting ──→ released, when each of its dependencies has completed: it is queued, with their results in its prompt
 *      └──────→ ended, when one fails or is cancelled, or when the follower itself is
 *
 * An end costs as much as the task has followers, however many tasks there are. A dependency counts once it has completed, also
 * if its next run begins before the follower is released.
 */
import type { Clock } from '../clock.ts'
import { errorText } from '../host/opencode.ts'
import { dependenciesOf, dependencyState } from '../task/dependency.ts'
import { fleetOf, machineOf } from '../task/place.ts'
import type { StoreEvent, TaskStore } from '../task/store.ts'
import { isEnded, type EndedTask, type Task } from '../task/task.ts'
import type { TimelineWriter } from '../timeline.ts'
import type { ToolErrorCode } from '../tool-error.ts'
import type { Executor } from '../work/executor.ts'
import type { KindOf } from '../work/kind.ts'
import { brief } from '../text/sanitize.ts'
import { resultsText, type Result, type Tree } from './results-text.ts'

interface Ports {
  readonly clock: Clock
  readonly store: TaskStore
  readonly executor: Pick<Executor, 'enqueue' | 'failPending'>
  readonly kindOf: KindOf
  readonly timeline: TimelineWriter
}

/** The results of a follower's dependencies, in the order of its `after`; `undefined` for those that are awaited. */
type Awaited = Map<string, Result | undefined>

/** The bytes of a command's output that are read as its result, of each stream. */
const OUTPUT_BYTES = 16 * 1024

/** Maximum characters of an error that names where changes are. */
const ERROR_LENGTH = 320

const UNANSWERABLE = 'was deleted before its question was answered'
/** The text of a result whose session is gone. */
const LOST = '[Its session was deleted, so that its text is lost.]'

export class Followers {
  readonly #ports: Ports
  /** By the id of the follower. */
  readonly #awaited = new Map<string, Awaited>()
  /** How many results each follower lacks. */
  readonly #missing = new Map<string, number>()
  /** The ids of the followers of an unfinished task. */
  readonly #followers = new Map<string, Set<string>>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /**
   * Returns the message and the code of a refusal if a session does not know one of these tasks, or one has failed. This bundle
   * must not create a `ToolError`, because callers test the class of the manager's bundle.
   */
  refusalOf(ids: readonly string[], parentID: string): [string, ToolErrorCode] | undefined {
    for (const id of ids) {
      const task = this.#ports.store.get(id)
      if (task?.parentID !== parentID)
        return [`after: there is no task ${id}. Nothing was started.`, 'unknownTask']
      if (dependencyState(task) === 'failed')
        return [
          `after: ${id} ${task.status === 'failed' ? `has failed (${task.failure.reason})` : 'was cancelled'}, so that nothing was started. ${'prompt' in task ? `Continue ${id} first` : `Run its command again, and name the new id`}, or omit it.`,
          'wrongState',
        ]
    }
    return undefined
  }

  /** Returns the ids of the unfinished tasks for which a task waits. */
  awaited(taskID: string): readonly string[] {
    return [...(this.#awaited.get(taskID)?.keys() ?? [])].filter((id) => this.#followers.get(id)?.has(taskID))
  }

  /** Holds a pending task until the tasks of its `after` have completed, some of which may have already. */
  hold(task: Task): void {
    const ids = dependenciesOf(task)
    if (task.status !== 'pending' || ids.length === 0) return
    this.#ports.timeline.add(task.id, { type: 'waits', detail: ids.join(', ') })
    this.#awaited.set(task.id, new Map(ids.map((id) => [id, undefined])))
    this.#missing.set(task.id, new Set(ids).size)
    for (const id of ids) this.#await(task, id)
  }

  observeTask(task: Task, event: StoreEvent): void {
    if (event.type !== 'ended' || !isEnded(task)) return
    this.#forget(task)
    const state = dependencyState(task)
    if (state === 'open') return
    const followers = this.#takeFollowers(task)
    if (followers.size === 0) return
    const result = this.#resultOf(task, event.outcome.text)
    for (const id of followers) {
      if (state === 'met') this.#add(id, task.id, result)
      else this.#fail(id, task.id, howItEnded(task))
    }
  }

  /** Observes that the session of a task was deleted: if it has ended with a question, no run follows any more. */
  observeDeleted(task: Task): void {
    if (!isEnded(task) || dependencyState(task) !== 'open') return
    for (const id of this.#takeFollowers(task)) this.#fail(id, task.id, UNANSWERABLE)
  }

  /** Returns the ids of the followers of a task for which they do not wait any more. */
  #takeFollowers({ id }: Task): ReadonlySet<string> {
    const followers = this.#followers.get(id) ?? new Set<string>()
    this.#followers.delete(id)
    return followers
  }

  #await(follower: Task, id: string): void {
    // An earlier dependency has ended the follower.
    if (!this.#awaited.has(follower.id)) return
    const task = this.#ports.store.get(id)
    if (task && dependencyState(task) === 'open') {
      const followers = this.#followers.get(id) ?? new Set()
      this.#followers.set(id, followers.add(follower.id))
      if (isEnded(task)) void this.#checkAnswerable(follower, task)
      return
    }
    if (!task || !isEnded(task)) {
      if (isAskedByRestart(follower))
        this.#fail(follower.id, id, 'was deleted, or is continued by another process')
      else this.#add(follower.id, id, { task: undefined, text: '' })
      return
    }
    // A launch raced with the failure, or only a restart continues the follower. Else its parent knew of the failure.
    if (dependencyState(task) === 'failed' && !isAskedFor(follower))
      this.#fail(follower.id, id, howItEnded(task))
    else void this.#read(follower, task)
  }

  /** Ends the wait for the answer to a question if the session of the task that asks was deleted before. */
  async #checkAnswerable(follower: Task, task: EndedTask): Promise<void> {
    try {
      const { transcript } = await this.#ports.kindOf(task).report(task, {})
      if (transcript || !this.#followers.get(task.id)?.delete(follower.id)) return
      if (isAskedFor(follower)) this.#add(follower.id, task.id, this.#resultOf(task, LOST))
      else this.#fail(follower.id, task.id, UNANSWERABLE)
    } catch {
      // Without an answer of the host, the follower waits as for any other task that asks.
    }
  }

  /** Reads the result of a task that had ended before the follower was held. */
  async #read(follower: Task, task: EndedTask): Promise<void> {
    const awaited = this.#awaited.get(follower.id)
    const isHeld = (): boolean => this.#awaited.get(follower.id) === awaited
    try {
      const { transcript } = await this.#ports.kindOf(task).report(task, {})
      if (isHeld()) this.#add(follower.id, task.id, this.#resultOf(task, transcript ? transcript.text : LOST))
    } catch (error) {
      if (!isHeld()) return
      this.#ports.executor.failPending(
        follower.id,
        'error',
        `the result of ${task.id} could not be read: ${errorText(error)}`,
      )
    }
  }

  /** @param said the text of its end; a command has more of it in its files */
  #resultOf(task: EndedTask, said: string): Result {
    const text = this.#ports.kindOf(task).textOf?.(task, OUTPUT_BYTES) ?? said
    const tree = treeOf(task)
    return { task, text, ...(tree && { tree }) }
  }

  #add(followerID: string, id: string, result: Result): void {
    const awaited = this.#awaited.get(followerID)
    if (!awaited || awaited.get(id)) return
    awaited.set(id, result)
    const missing = (this.#missing.get(followerID) ?? 0) - 1
    this.#missing.set(followerID, missing)
    if (missing === 0) this.#release(followerID, awaited as Map<string, Result>)
  }

  #release(id: string, results: ReadonlyMap<string, Result>): void {
    const { executor, store } = this.#ports
    this.#awaited.delete(id)
    this.#missing.delete(id)
    const task = store.get(id)
    const { worktree: planned } = { worktree: undefined, ...task }
    const tree = planned && lastTreeOf(results)
    const lacked = this.#lacked(results, tree)
    const worktree = planned && startingFrom(planned, tree, lacked)
    const event = {
      type: 'released',
      results: resultsText(results, lacked),
      ...(worktree && { worktree }),
    } as const
    if (!store.dispatch(id, event)) return
    const released = store.get(id)
    if (released) executor.enqueue(released)
  }

  #fail(id: string, dependencyID: string, how: string): void {
    const message = `${dependencyID}, for which it waited, ${how}. It was not started; a prompt by task_id starts it`
    this.#ports.executor.failPending(id, 'dependency', message)
  }

  #forget(task: Task): void {
    if (!this.#awaited.delete(task.id)) return
    this.#missing.delete(task.id)
    for (const id of dependenciesOf(task)) {
      const followers = this.#followers.get(id)
      followers?.delete(task.id)
      if (followers?.size === 0) this.#followers.delete(id)
    }
  }

  /** Returns where the changes are that the tree of a follower lacks, as the ends of sentences, by the ids of their tasks. */
  #lacked(
    results: ReadonlyMap<string, Result>,
    tree: (Tree & { readonly id: string }) | undefined,
  ): ReadonlyMap<string, string> {
    const contained = new Set(tree && [tree.id])
    for (
      let from = tree?.worktree.from;
      from;
      from = treeOf(this.#ports.store.get(from.taskID))?.worktree.from
    )
      contained.add(from.taskID)
    return new Map(
      [...results].flatMap(([id, { task }]): [string, string][] => {
        const place = contained.has(id) ? undefined : placeOfChanges(task)
        return place === undefined ? [] : [[id, place]]
      }),
    )
  }
}

/** Returns the last branch of the tasks for which a follower has waited. */
function lastTreeOf(results: ReadonlyMap<string, Result>): (Tree & { readonly id: string }) | undefined {
  return [...results].flatMap(([id, { tree }]) => (tree ? [{ id, ...tree }] : [])).pop()
}

/** Returns the worktree of a follower, from a branch if there is one; `undefined` if it stays as planned. */
function startingFrom(
  worktree: Tree['worktree'],
  tree: (Tree & { readonly id: string }) | undefined,
  lacked: ReadonlyMap<string, string>,
): Tree['worktree'] | undefined {
  if (!tree && lacked.size === 0) return undefined
  const lacks = [...lacked].map(([id, place]) => `it lacks the changes of ${id}, ${place}`)
  const notes = [...(worktree.notes ?? []), ...lacks]
  return {
    ...worktree,
    // The base of the first branch, so that an apply writes the changes of both, as a merge of the branch does.
    ...(tree && { base: tree.worktree.base, from: { taskID: tree.id, commit: tree.commit } }),
    ...(notes.length > 0 && { notes }),
  }
}

/** Returns where the changes of a task are, as the end of a sentence; `undefined` for no changes. */
function placeOfChanges(task: Task | undefined): string | undefined {
  const { worktree, changes } = { worktree: undefined, changes: undefined, ...task }
  switch (changes?.type) {
    case 'committed':
      return `on ${worktree?.branch}`
    case 'failed': {
      if (task && fleetOf(task)) return `not committed: ${brief(changes.message, ERROR_LENGTH)}`
      const machine = task && machineOf(task)
      return `not committed, in ${machine ? `${machine.directory} on ${machine.name}` : worktree?.root}`
    }
    case 'removed':
      return 'on no branch any more'
    case 'none':
    case 'kept':
    case undefined:
      return undefined
  }
}

function howItEnded(task: EndedTask): string {
  return task.status === 'failed' ? `failed (${task.failure.reason})` : 'was cancelled'
}

/** Whether a person or a parent has asked for the run of a follower, knowing how the tasks before it have ended. */
function isAskedFor(follower: Task): boolean {
  return follower.run > 1 && !isAskedByRestart(follower)
}

/** Whether neither its parent nor a user has asked for the run of a task. */
function isAskedByRestart(task: Task): boolean {
  return 'askedBy' in task && task.askedBy === 'restart'
}

function treeOf(task: Task | undefined): Tree | undefined {
  const { worktree, changes } = { worktree: undefined, changes: undefined, ...task }
  return worktree && changes?.type === 'committed' ? { worktree, commit: changes.commit } : undefined
}
