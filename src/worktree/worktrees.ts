/**
 * The worktrees of tasks: each is made from the state of its parent's checkout at the launch, and ends as a commit on a
 * branch of its own, so that no work exists as files alone.
 *
 *   plan ──→ open ──→ close
 *             ↑─────────┘  the next run of the task
 *
 * `plan` keeps the state as a ref. `open` makes the branch and fills the directory, or finds what an earlier call has left,
 * also one that was killed. `close` commits, and removes a tree in which nothing has changed. Each can be repeated.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, realpath, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Options } from '../config.ts'
import type { Applied, Changes } from '../task/task.ts'
import type { Worktree } from '../work/agent/agent-work.ts'
import { apply } from './apply.ts'
import {
  checkoutOf,
  differences,
  identityAt,
  OWN_IDENTITY,
  snapshot,
  treeOf,
  type Checkout,
} from './checkout.ts'
import { GitError, type Git } from './git.ts'
import { freeBytes, PlannedTrees, refuseFullDisk } from './limits.ts'
import { copyIncluded, leftIgnored } from './included.ts'
import { conflictsOf, statOf } from './merge.ts'

const REFS = 'refs/opencode-background'
const BRANCHES = 'opencode-background'
/** The task of a tree. */
export interface TreeTask {
  readonly id: string
  readonly run: number
  readonly description: string
}

interface Ports {
  readonly git: Git
  /** Contains a directory for each repository. */
  readonly directory: string
  /** Whether a task of this process has ended; false for an unknown one. */
  readonly hasEnded: (taskID: string) => boolean
  readonly freeBytes?: typeof freeBytes
}

/** Maximum length of the words of a description in the name of a branch. */
const SLUG_LENGTH = 40

export class Worktrees {
  readonly #git: Git
  readonly #ports: Ports
  readonly #options: Options['worktree']
  readonly #planned: PlannedTrees
  /** The newest work on each repository: git's own locks make concurrent calls fail. */
  readonly #working = new Map<string, Promise<unknown>>()

  constructor(ports: Ports, options: Options['worktree']) {
    this.#git = ports.git
    this.#ports = ports
    this.#options = options
    this.#planned = new PlannedTrees(ports.hasEnded)
  }

  /**
   * Stores the state of the checkout at `directory`, for a tree that is made later. Rejects with a `GitError`, also where
   * there can be none, or no more.
   */
  async plan(task: TreeTask, directory: string): Promise<Worktree> {
    const checkout = await checkoutOf(this.#git, directory)
    const home = await this.#home(checkout)
    await refuseFullDisk(home, this.#ports.freeBytes ?? freeBytes)
    await this.#planned.add(task.id, home, this.#options.max)
    try {
      return await this.#plan(task, checkout, home)
    } catch (error) {
      this.#planned.delete(task.id)
      throw error
    }
  }

  async #plan({ id, description }: TreeTask, checkout: Checkout, home: string): Promise<Worktree> {
    const { root, prefix, head } = checkout
    const message = `The checkout from which ${id} was launched`
    const { tree: state, commit } =
      this.#options.base === 'now'
        ? await snapshot(this.#git, checkout, { message, identity: OWN_IDENTITY })
        : { tree: await treeOf(this.#git, root, checkout.index), commit: head }
    const counts = await differences(this.#git, root, head, state)
    const tree = join(home, id)
    await this.#git(root, ['update-ref', `${REFS}/${id}/base`, commit])
    return {
      root: tree,
      directory: join(tree, prefix),
      branch: `${BRANCHES}/${[id, slugOf(description)].filter((part) => part !== '').join('-')}`,
      checkout: root,
      base: { commit, head, ...counts },
    }
  }

  /** Makes the directory that contains the trees of a repository, and returns its path. */
  async #home({ root, repository }: Checkout): Promise<string> {
    const path = join(this.#ports.directory, await projectName(root, repository))
    await mkdir(path, { recursive: true })
    const home = await realpath(path)
    const isInside = `${home}/`.startsWith(`${root}/`)
    // A snapshot would have the trees as submodules, and each search would find all of their files.
    if (isInside && (await this.#git(root, ['check-ignore', '--quiet', home], { answers: [1] })).code === 1)
      throw new GitError(
        'refused',
        `worktree.directory ${this.#ports.directory} is in the checkout ${root}; choose one outside, or add it to .gitignore`,
      )
    return home
  }

  /** Forgets a plan of which no task came. Never rejects. */
  async discard({ checkout }: Worktree, { id }: Pick<TreeTask, 'id'>): Promise<void> {
    this.#planned.delete(id)
    await this.#git(checkout, ['update-ref', '-d', `${REFS}/${id}/base`]).catch(() => {})
  }

  /** Makes the tree of a run, unless it is there. Rejects with a `GitError`, and leaves nothing behind then. */
  async open(worktree: Worktree, { id, run }: Pick<TreeTask, 'id' | 'run'>): Promise<void> {
    await this.#alone(worktree.checkout, async () => {
      if (!(await this.#isTree(worktree))) await this.#make(worktree, { id, run })
      else if (!(await this.#isFilled(worktree))) await this.#fill(worktree)
      await this.#git(
        worktree.checkout,
        ['worktree', 'lock', '--reason', `${BRANCHES} ${id}`, worktree.root],
        {
          // It is locked already.
          answers: [128],
        },
      )
      await mkdir(worktree.directory, { recursive: true })
    })
  }

  /** Commits what a run has left in its tree. Never rejects: the tree of a failed commit is kept. */
  async close(worktree: Worktree, run: TreeTask): Promise<Changes> {
    const { checkout, root } = worktree
    try {
      return await this.#alone(checkout, async () => {
        const end = await this.#commit(worktree, run)
        await this.#git(checkout, ['worktree', 'unlock', root], { answers: [128] })
        const stat = await statOf(this.#git, checkout, worktree.base.commit, end)
        if (stat.commits === 0) return await this.#removeUnchanged(worktree, run)
        const conflicts = await conflictsOf(this.#git, worktree, end)
        return { type: 'committed', commit: end, ...stat, ...(conflicts && { conflicts }) }
      })
    } catch (error) {
      return { type: 'failed', message: error instanceof Error ? error.message : String(error) }
    }
  }

  /** Writes an end into the checkout. Rejects with a `GitError`. */
  async apply(
    worktree: Worktree,
    { id }: Pick<TreeTask, 'id'>,
    end: string,
    check: boolean,
  ): Promise<Applied> {
    const ref = `${REFS}/${id}/before-apply`
    return this.#alone(worktree.checkout, () => apply(this.#git, worktree, end, ref, check))
  }

  /**
   * Removes the tree and the branch of a task at the user's request, and returns their last commit: refs keep all commits.
   * Rejects with a `GitError`, also where ignored files would be lost. Can be repeated.
   */
  async remove(worktree: Worktree, run: TreeTask): Promise<string> {
    const { checkout, root, branch } = worktree
    return this.#alone(checkout, async () => {
      const ignored = existsSync(root) ? await leftIgnored(this.#git, worktree) : []
      if (ignored.length > 0)
        throw new GitError(
          'refused',
          `${root} has ignored files: ${ignored.join(', ')}. Delete or copy them first`,
        )
      const tip = await this.#commitOf(checkout, `refs/heads/${branch}`)
      // An earlier call was killed behind its last step.
      if (tip === undefined && !existsSync(root))
        return (await this.#commitOf(checkout, endRef(run.id, run.run))) ?? worktree.base.commit
      // A person may have moved the branch since.
      for (const name of [`refs/heads/${branch}`, endRef(run.id, run.run)]) {
        const kept = await this.#commitOf(checkout, name)
        if (kept !== undefined)
          await this.#git(checkout, ['update-ref', `${REFS}/${run.id}/kept-${kept}`, kept])
      }
      const commit = await this.#commit(worktree, run)
      await this.#git(checkout, ['worktree', 'unlock', root], { answers: [128] })
      // Without force, so that git refuses a tree with submodules, or with a file that was written meanwhile.
      await this.#git(checkout, ['worktree', 'remove', root], { answers: existsSync(root) ? [] : [128] })
      if ((await this.#commitOf(checkout, `refs/heads/${branch}`)) !== undefined)
        // git refuses a branch that is checked out elsewhere.
        await this.#git(checkout, ['branch', '--quiet', '-D', branch])
      return commit
    })
  }

  /** Whether the directory is the tree. Removes what a killed `git worktree add` left of one. */
  async #isTree({ root, checkout }: Worktree): Promise<boolean> {
    if (!existsSync(root)) return false
    const found = await this.#git(root, ['rev-parse', '--show-toplevel', '--git-common-dir'], {
      answers: [128],
    })
    if (found.code === 0 && found.stdout.split('\n')[0] === root) return true
    const names = await readdir(root)
    if (names.some((name) => name !== '.git'))
      throw new GitError('refused', `${root} exists, and is no worktree of ${checkout}`)
    await rm(join(root, '.git'), { force: true })
    return false
  }

  /** Whether git has filled the tree once: it writes the index last. */
  async #isFilled({ root }: Worktree): Promise<boolean> {
    return existsSync(await this.#pathOf(root, 'index'))
  }

  async #fill(worktree: Worktree): Promise<void> {
    const { root } = worktree
    await rm(await this.#pathOf(root, 'index.lock'), { force: true })
    await this.#git(root, ['reset', '--hard', '--quiet'])
    await copyIncluded(this.#git, worktree)
  }

  async #make(worktree: Worktree, { id, run }: Pick<TreeTask, 'id' | 'run'>): Promise<void> {
    const { checkout, root, branch, base } = worktree
    const isNew = (await this.#commitOf(checkout, `refs/heads/${branch}`)) === undefined
    const start = (isNew && run > 1 ? await this.#lastEnd(worktree, id) : undefined) ?? base.commit
    const { stdout } = await this.#git(checkout, ['worktree', 'list', '--porcelain'])
    // Of a tree whose directory is gone, and that is locked: once does not suffice.
    const again = stdout.split('\n').includes(`worktree ${root}`) ? ['--force', '--force'] : []
    const lock = ['--lock', '--reason', `${BRANCHES} ${id}`]
    const what = isNew ? ['--no-track', '-b', branch, root, start] : [root, branch]
    const add = ['worktree', 'add', '--quiet', ...again, ...lock, ...what]
    try {
      await this.#git(checkout, add).catch(async (error: unknown) => {
        if (!(error instanceof GitError) || error.reason !== 'locked') throw error
        if (isNew) await this.#deleteBranch(worktree, start)
        return this.#git(checkout, add)
      })
      await copyIncluded(this.#git, worktree)
    } catch (error) {
      await this.#git(checkout, ['worktree', 'unlock', root], { answers: [128] }).catch(() => {})
      if (isNew && !existsSync(root)) await this.#deleteBranch(worktree, start)
      throw error
    }
  }

  /** Returns the end of the newest run that has changed something. */
  async #lastEnd({ checkout }: Worktree, id: string): Promise<string | undefined> {
    const order = ['--sort=-version:refname', '--count=1', '--format=%(objectname)']
    const { stdout } = await this.#git(checkout, ['for-each-ref', ...order, endRef(id, '*')])
    return stdout.trim() || undefined
  }

  /** Deletes the branch while nothing was committed on it. Never rejects. */
  async #deleteBranch({ checkout, branch, base }: Worktree, start = base.commit): Promise<void> {
    await this.#git(checkout, ['update-ref', '-d', `refs/heads/${branch}`, start]).catch(() => {})
  }

  /** Commits all files of the tree that are not ignored, and returns the commit. */
  async #commit(worktree: Worktree, { id, run, description }: TreeTask): Promise<string> {
    const { root, checkout, branch, base } = worktree
    if (!existsSync(root)) return (await this.#commitOf(checkout, `refs/heads/${branch}`)) ?? base.commit
    const found = await checkoutOf(this.#git, root)
    // Without its `.git`, the directory would be a part of a repository around it, such as that of a home.
    if (found.root !== root) throw new GitError('refused', `${root} is no worktree any more`)
    const message = `${description}\n\nOpencode-Background-Task: ${id}\nOpencode-Background-Run: ${run}\n`
    const { commit, head } = await snapshot(this.#git, found, {
      message,
      identity: await identityAt(this.#git, root),
    })
    // First, so that the commit is kept whatever happens to the branch.
    await this.#git(checkout, ['update-ref', endRef(id, run), commit])
    if (commit !== head) await this.#git(root, ['update-ref', '-m', `end of ${id}`, 'HEAD', commit, head])
    await this.#advance(worktree, commit, endRef(id, run))
    // Only its index is behind now. Another git may hold the lock, and nothing is lost by that.
    await this.#git(root, ['reset', '--quiet'], { answers: [1, 128] })
    return commit
  }

  /** Advances the task's branch to a commit that the agent made on another one. */
  async #advance({ checkout, branch }: Worktree, commit: string, end: string): Promise<void> {
    const name = `refs/heads/${branch}`
    const tip = await this.#commitOf(checkout, name)
    if (tip === commit) return
    if (tip === undefined) await this.#git(checkout, ['update-ref', name, commit])
    else {
      const isBehind = await this.#git(checkout, ['merge-base', '--is-ancestor', tip, commit], {
        answers: [1],
      })
      if (isBehind.code !== 0)
        throw new GitError('refused', `${branch} has commits that its worktree lacks; ${end} has the changes`)
      await this.#git(checkout, ['update-ref', name, commit, tip])
    }
  }

  async #removeUnchanged(worktree: Worktree, { id, run }: TreeTask): Promise<Changes> {
    const { checkout, root } = worktree
    if (existsSync(root)) {
      const ignored = await leftIgnored(this.#git, worktree)
      if (ignored.length > 0) return { type: 'kept', why: `it has ignored files: ${ignored.join(', ')}` }
      // Without force, so that git refuses a tree with submodules, or with a file that was written meanwhile.
      try {
        await this.#git(checkout, ['worktree', 'remove', root])
      } catch (error) {
        return { type: 'kept', why: (error as Error).message }
      }
    }
    await this.#deleteBranch(worktree)
    await this.#git(checkout, ['update-ref', '-d', endRef(id, run)])
    return { type: 'none' }
  }

  async #commitOf(directory: string, name: string): Promise<string | undefined> {
    const args = ['rev-parse', '--verify', '--quiet', `${name}^{commit}`]
    const { code, stdout } = await this.#git(directory, args, { answers: [1, 128] })
    return code === 0 ? stdout.trim() : undefined
  }

  async #pathOf(root: string, name: string): Promise<string> {
    return (await this.#git(root, ['rev-parse', '--path-format=absolute', '--git-path', name])).stdout.trim()
  }

  /** Runs one piece of work at a time for a checkout. */
  async #alone<Result>(checkout: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#working.get(checkout) ?? Promise.resolve()
    const result = before.then(work)
    const settled = result.then(
      () => undefined,
      () => undefined,
    )
    this.#working.set(checkout, settled)
    await settled
    if (this.#working.get(checkout) === settled) this.#working.delete(checkout)
    return result
  }
}

/** The end of each run, because a later run may move the branch back. */
function endRef(id: string, run: number | '*'): string {
  return `${REFS}/${id}/run-${run}`
}

/** Two repositories may have one name. */
async function projectName(root: string, repository: string): Promise<string> {
  const name = basename(root).replaceAll(/[^\w.-]/g, '_')
  const hash = createHash('sha256')
    .update(await realpath(repository))
    .digest('hex')
  return `${name}-${hash.slice(0, 8)}`
}

function slugOf(description: string): string {
  const words =
    description
      .normalize('NFKD')
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? []
  return words.join('-').slice(0, SLUG_LENGTH).replace(/-$/, '')
}
