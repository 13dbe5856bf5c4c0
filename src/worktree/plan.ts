/** Where the tree of a task will be, and the state from which it is made. */
import { createHash } from 'node:crypto'
import { mkdir, realpath } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Options } from '../config.ts'
import type { Worktree } from '../work/agent/agent-work.ts'
import { differences, OWN_IDENTITY, snapshot, treeOf, type Checkout } from './checkout.ts'
import { commitOf } from './commit.ts'
import { GitError, type Git } from './git.ts'
import { notesOf, untrackedNotes } from './notes.ts'
import { BRANCHES, branchOf, refOf } from './refs.ts'

export interface TreePlan {
  /** The commit from which the tree is made; default: the state of the checkout. */
  readonly start?: string
  /** Whether the task works in another clone, and has no directory here. */
  readonly isElsewhere?: boolean
  /** Whether files that git does not track yet are left out. */
  readonly isTrackedOnly?: boolean
}

/** Maximum length of the description's words in a branch name. */
const SLUG_LENGTH = 40

/**
 * Makes the directory that contains the trees of a repository, and returns its path. Rejects with a `GitError`.
 *
 * @param directory contains a directory for each repository
 */
export async function homeOf(git: Git, { root, repository }: Checkout, directory: string): Promise<string> {
  const path = join(directory, await projectName(root, repository))
  await mkdir(path, { recursive: true })
  const home = await realpath(path)
  const isInside = `${home}/`.startsWith(`${root}/`)
  // Otherwise a snapshot would contain the trees as submodules, and each search would find their files.
  if (isInside && (await git(root, ['check-ignore', '--quiet', home], { answers: [1] })).code === 1)
    throw new GitError(
      'refused',
      `worktree.directory ${directory} is in the checkout ${root}; choose one outside, or add it to .gitignore`,
    )
  return home
}

/** Stores the state from which a tree is made, as a ref. Rejects with a `GitError`. */
export async function planTree(
  git: Git,
  checkout: Checkout,
  home: string,
  { id, description, start, isTrackedOnly }: TreePlan & { readonly id: string; readonly description: string },
  { base, submodules }: Options['worktree'],
): Promise<Worktree> {
  const { root, prefix } = checkout
  const head = start ?? checkout.head
  if ((await commitOf(git, root, `refs/heads/${BRANCHES}`)) !== undefined)
    throw new GitError(
      'refused',
      `the branch ${BRANCHES} is in the way of the branches ${BRANCHES}/…; rename it with \`git branch -m ${BRANCHES} NAME\``,
    )
  const { tree: state, commit } =
    start === undefined
      ? await stateOf(git, checkout, { id, base, isTrackedOnly })
      : { tree: start, commit: start }
  const counts = await differences(git, root, head, state)
  const tree = join(home, id)
  const notes = [
    ...(await notesOf(git, checkout, submodules)),
    ...(isTrackedOnly ? await untrackedNotes(git, checkout) : []),
  ]
  await git(root, ['update-ref', refOf(id, 'base'), commit])
  return {
    root: tree,
    directory: join(tree, prefix),
    branch: branchOf(id, slugOf(description)),
    checkout: root,
    base: { commit, head, ...counts },
    ...(notes.length > 0 && { notes }),
  }
}

/** Returns the present files of a checkout, as a tree, and the commit from which a worktree starts. */
async function stateOf(
  git: Git,
  checkout: Checkout,
  how: Pick<Options['worktree'], 'base'> & {
    readonly id: string
    readonly isTrackedOnly: boolean | undefined
  },
): Promise<{ readonly tree: string; readonly commit: string }> {
  const { id, base, isTrackedOnly } = how
  const message = `The checkout from which ${id} was launched`
  return base === 'now'
    ? snapshot(git, checkout, { message, identity: OWN_IDENTITY, isTrackedOnly })
    : { tree: await treeOf(git, checkout.root, checkout.index, isTrackedOnly), commit: checkout.head }
}

/** Returns a directory name for a repository, with a hash of its path, because two repositories can have the same name. */
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
      .replaceAll(/\p{M}/gu, '')
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? []
  return words.join('-').slice(0, SLUG_LENGTH).replace(/-$/, '')
}
