/**
 * Takes the commits of ended jobs into the user's repository. Until then, the queue has the only copy of
 * them, so an attempt that fails for a passing reason, such as a full disk, is repeated.
 */
import type { Clock } from '../../clock.ts'
import type { Log } from '../../host/log.ts'
import { errorText } from '../../host/opencode.ts'
import { pause } from '../../pause.ts'
import type { Changes } from '../../task/state.ts'
import { transferRef } from '../../worktree/bundles.ts'
import { commitOf } from '../../worktree/commit.ts'
import { git, GitError } from '../../worktree/git.ts'
import { endRef } from '../../worktree/refs.ts'
import { receive, startOf } from '../../worktree/transport.ts'
import type { WorktreeRuns } from '../../worktree/worktree-runs.ts'
import { BadPayload, type Result } from '../payload.ts'
import type { EndedJob } from './fleet-run.ts'
import { codeIn, jobOf, type FleetTask } from './fleet-task.ts'

interface Ports {
  readonly clock: Clock
  readonly log: Log
  readonly worktrees: () => Promise<WorktreeRuns>
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** The pauses between attempts: each is twice as long as the one before. */
const RETRY_MS = 2000
const LONGEST_RETRY_MS = 60_000
/** How many attempts the commits of a stopped run get. */
const ATTEMPTS_ONCE_STOPPED = 5

export class CommitTaker {
  readonly #ports: Ports
  /** By the id of the job: why the newest attempt has failed. */
  readonly #failures = new Map<string, string>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Returns why the commits of a job are not here yet; `undefined` if they are, or no attempt has failed. */
  whyNot(jobID: string): string | undefined {
    return this.#failures.get(jobID)
  }

  /**
   * Takes the commits of a job's result, or of its last checkpoint, and advances the branch to them. Resolves with `undefined`
   * if it has neither. Never rejects, and never resolves after the end of the instance: the next one takes them.
   *
   * @param stop once it is aborted, `take` resolves as failed after a few attempts; without it, attempts continue until one
   *   succeeds
   */
  async take(task: FleetTask, job: EndedJob, stop?: AbortSignal): Promise<Changes | undefined> {
    const { clock, disposal, log } = this.#ports
    const jobID = jobOf(task)
    for (let attempt = 1; !disposal.aborted; attempt += 1) {
      try {
        const code = codeIn(job)
        const changes = code && (await this.#taken(task, code, job.worker))
        if (disposal.aborted) break
        this.#failures.delete(jobID)
        return changes
      } catch (error) {
        if (disposal.aborted) break
        const why = `the commits of the worker could not be taken: ${errorText(error)}`
        const isLast = (stop?.aborted ?? false) && attempt >= ATTEMPTS_ONCE_STOPPED
        if (isFinal(error) || isLast) {
          this.#failures.delete(jobID)
          return { type: 'failed', message: isFinal(error) ? why : `${why}; the fleet's queue keeps them` }
        }
        this.#failures.set(jobID, errorText(error))
        log.warn(`${task.id}: ${why}; trying again`)
        const waitMs = Math.min(RETRY_MS * 2 ** (attempt - 1), LONGEST_RETRY_MS)
        // A stop ends the pause that it interrupts, and none of those between the attempts after it.
        await pause(clock, waitMs, stop?.aborted === false ? [disposal, stop] : [disposal])
      }
    }
    return new Promise(() => {})
  }

  /** Rejects with the reason. */
  async #taken(task: FleetTask, code: Result['code'], worker: string | undefined): Promise<Changes> {
    if (code.type === 'kept')
      return { type: 'failed', message: `worker ${worker ?? ''} keeps them ${code.why}` }
    const { checkout } = task.worktree
    const commit = code.type === 'none' ? await startOf(git, task.worktree, task.id) : code.commit
    if (code.type === 'committed') {
      const bundle = code.bundle === undefined ? {} : { bundle: Buffer.from(code.bundle, 'base64') }
      await receive(git, checkout, { id: task.id, name: 'out', commit, ...bundle })
    }
    const changes = await (await this.#ports.worktrees()).adopt(task, task.worktree, commit)
    // A branch that cannot advance is an answer: the commits are here, under the ref that it names.
    const end = endRef(task.id, task.run)
    if (changes.type === 'failed' && (await commitOf(git, checkout, end)) !== commit)
      throw new Error(changes.message)
    // The ref `in` stays: git may be packing the code of a later run from it.
    await git(checkout, ['update-ref', '-d', transferRef({ id: task.id, name: 'out' })])
    return changes
  }
}

/** Whether a retry cannot help, because the worker's result is invalid. */
function isFinal(error: unknown): boolean {
  return error instanceof BadPayload || (error instanceof GitError && error.reason === 'bad')
}
