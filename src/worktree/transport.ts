/**
 * Carries a worktree's commits between the clone of a launch and the clone in which the agent works.
 *
 *   launch: sendBase ──→ worker: receiveBase, plan, open, …, checkpointOf, close, sendEnd ──→ launch: receiveEnd
 *                                                                          └──→ dropTree, once the end was received
 */
import { errorText } from '../host/opencode.ts'
import type { Worktree } from '../work/agent/agent-work.ts'
import {
  headerOf,
  lackingCommits,
  makeBundle,
  rootsOf,
  takeBundle,
  transferRef,
  type Transfer,
} from './bundles.ts'
import { checkoutOf, OWN_IDENTITY, snapshot } from './checkout.ts'
import { commitOf } from './commit.ts'
import { GitError, type Git } from './git.ts'
import { newestEnd, refOf } from './refs.ts'

/** A commit, and the bundle that brings it; without one the reader has the commit, or fetches it. */
export interface Sent {
  readonly commit: string
  readonly bundle?: Uint8Array
}

/** Returns the newest commits of a remote, as this clone has last seen them. */
export async function commitsAt(git: Git, checkout: string, remote: string): Promise<string[]> {
  const pattern = `refs/remotes/${remote}/`
  const { stdout } = await git(checkout, ['for-each-ref', '--format=%(objectname)', pattern])
  return [...new Set(stdout.split('\n').filter((line) => line !== ''))]
}

/** Returns the labels of the projects of a clone, one for each of its first commits. */
export async function projectsOf(git: Git, checkout: string, from = 'HEAD'): Promise<string[]> {
  const roots = await rootsOf(git, checkout, from)
  return roots.toSorted().map((root) => `project:${root}`)
}

/** Returns the commit from which a run in another clone starts: its branch, its last end, or the state of the launch. */
export async function startOf(
  git: Git,
  { checkout, branch, base, from }: Worktree,
  id: string,
): Promise<string> {
  const tip = await commitOf(git, checkout, `refs/heads/${branch}`)
  return tip ?? (await newestEnd(git, checkout, id)) ?? from?.commit ?? base.commit
}

/** Packs a commit for a reader that has the commits `known`. Rejects with a `GitError`. */
export async function send(
  git: Git,
  checkout: string,
  transfer: Transfer,
  known: readonly string[],
): Promise<Sent> {
  try {
    const bundle = await makeBundle(git, checkout, transfer, known)
    return { commit: transfer.commit, ...(bundle && { bundle: bundle.bytes }) }
  } finally {
    // The ref only names the commit in the bundle. One that stays goes with the other refs of its task.
    await git(checkout, ['update-ref', '-d', transferRef(transfer)]).catch(() => {})
  }
}

/**
 * Takes a commit that another clone has sent. Rejects with a `GitError`.
 *
 * @param remote where to fetch commits that this clone lacks; '': nowhere
 */
export async function receive(
  git: Git,
  checkout: string,
  transfer: Omit<Transfer, 'commit'> & Sent,
  remote = '',
): Promise<void> {
  const { bundle, commit } = transfer
  const needs = bundle ? headerOf(bundle).needs : [commit]
  if (remote !== '' && (await lackingCommits(git, checkout, needs)).length > 0)
    await fetchAll(git, checkout, remote)
  if (bundle) {
    await takeBundle(git, checkout, transfer, bundle)
    return
  }
  if ((await lackingCommits(git, checkout, needs)).length > 0)
    throw new GitError('refused', `this repository lacks ${commit.slice(0, 12)}, which came without a bundle`)
  await git(checkout, ['update-ref', transferRef(transfer), commit])
}

/** Fetches the branches of a remote that this clone's own configuration names. */
async function fetchAll(git: Git, checkout: string, remote: string): Promise<void> {
  try {
    const quiet = ['--quiet', '--no-tags', '--no-recurse-submodules', '--no-write-fetch-head']
    await git(checkout, ['-c', 'fetch.fsckObjects=true', 'fetch', ...quiet, '--end-of-options', remote])
  } catch (error) {
    throw new GitError('refused', `${remote} could not be fetched: ${errorText(error)}`)
  }
}

/** Stores the present files of a tree as a commit. Its index, HEAD and branch do not change. */
export async function checkpointOf(git: Git, { root }: Worktree, taskID: string): Promise<string> {
  const message = `The files of ${taskID} while it works`
  return (await snapshot(git, await checkoutOf(git, root), { message, identity: OWN_IDENTITY })).commit
}

/**
 * Rejects with a `GitError` unless a commit has this directory. A link in the path would lead an agent out of its tree.
 *
 * @param prefix from the top of the repository, '' or with a trailing slash
 */
export async function refuseNoDirectory(
  git: Git,
  checkout: string,
  commit: string,
  prefix: string,
): Promise<void> {
  if (prefix === '') return
  const path = prefix.replace(/\/$/, '')
  const isPlain = path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  const { code, stdout } = isPlain
    ? await git(checkout, ['cat-file', '-t', `${commit}:${path}`], { answers: [1, 128] })
    : { code: 1, stdout: '' }
  if (code !== 0 || stdout.trim() !== 'tree')
    throw new GitError('refused', `${JSON.stringify(prefix)} is no directory of ${commit.slice(0, 12)}`)
}

/**
 * Removes a tree whose end another clone has received: its directory with ignored files, its branch, and the refs of these
 * tasks. Can be repeated. Rejects with a `GitError`.
 */
export async function dropTree(
  git: Git,
  { root, checkout, branch }: Worktree,
  taskIDs: readonly string[],
): Promise<void> {
  await git(checkout, ['worktree', 'unlock', root], { answers: [128] })
  // Exit code 128: git has no such tree any more.
  await git(checkout, ['worktree', 'remove', '--force', root], { answers: [128] })
  const head = `refs/heads/${branch}`
  if ((await commitOf(git, checkout, head)) !== undefined) await git(checkout, ['update-ref', '-d', head])
  for (const id of taskIDs) {
    const refs = await git(checkout, ['for-each-ref', '--format=delete %(refname)', refOf(id, '')])
    if (refs.stdout !== '') await git(checkout, ['update-ref', '--stdin'], { input: refs.stdout })
  }
}
