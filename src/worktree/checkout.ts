/** Reads a checkout of a repository, and stores its current state as a commit. Its index, HEAD and stashes do not change. */
import { constants, existsSync } from 'node:fs'
import { copyFile, mkdtemp, rm, stat, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { fieldsOf, GitError, type Git } from './git.ts'

export interface Checkout {
  /** Its top directory. */
  readonly root: string
  /** The path from `root` to the requested directory, with a trailing slash; '' for `root` itself. */
  readonly prefix: string
  /** The directory of the repository, which all its checkouts share. */
  readonly repository: string
  /** The file of its index, which may not exist. */
  readonly index: string
  /** The commit that HEAD names, and its tree. */
  readonly head: string
  readonly tree: string
}

/** Environment variables for author and committer. git takes absent ones from the user's configuration. */
export type Identity = Readonly<Record<string, string>>

interface SnapshotOptions {
  readonly message: string
  readonly identity: Identity
  /** Whether to leave out the files that git does not track yet. */
  readonly isTrackedOnly?: boolean | undefined
}

export interface Snapshot {
  readonly tree: string
  /** The commit with this tree; HEAD itself if the checkout has no changes. */
  readonly commit: string
  readonly head: string
}

/** The first git that has `git merge-tree --write-tree`. */
const LEAST = [2, 38] as const

export const OWN_IDENTITY: Identity = identityOf('opencode-background', 'opencode-background@localhost')

function identityOf(name: string, email: string): Identity {
  return {
    GIT_AUTHOR_NAME: name,
    GIT_AUTHOR_EMAIL: email,
    GIT_COMMITTER_NAME: name,
    GIT_COMMITTER_EMAIL: email,
  }
}

/** One `rev-parse` call reads all of these, because a git process takes longer to start than to answer. */
const FACTS = [
  '--show-toplevel',
  '--show-prefix',
  '--git-common-dir',
  '--git-path',
  'index',
  'HEAD^{commit}',
  'HEAD^{tree}',
]

/** Rejects with a `GitError` that says what to do, if a directory cannot have worktrees. */
export async function checkoutOf(git: Git, directory: string): Promise<Checkout> {
  if (process.platform === 'win32') throw refused('worktrees are not supported on Windows')
  const [version, facts] = await Promise.all([
    git(directory, ['version']),
    git(directory, ['rev-parse', ...FACTS]),
  ]).catch(explained(directory))
  checkVersion(version.stdout)
  const [root = '', prefix = '', common = '', index = '', head = '', tree = ''] = facts.stdout.split('\n')
  return { root, prefix, head, tree, repository: from(directory, common), index: from(directory, index) }
}

/** Translates known errors of git into a `GitError` that says what to do. Rethrows others, as of the configuration. */
function explained(directory: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof GitError)) throw error
    if (error.reason === 'missing') throw refused('there is no git; install it')
    if (error.message.includes('not a git repository'))
      throw refused(`${directory} is not in a git repository; \`git init\` and a commit make one`)
    if (error.message.includes('must be run in a work tree'))
      throw refused(`${directory} is not in a checkout (bare repository)`)
    if (error.message.includes("ambiguous argument 'HEAD"))
      throw refused(`${directory} has no commit yet; commit first`)
    const [, owned] = /dubious ownership in repository at '(.*)'/.exec(error.message) ?? []
    if (owned !== undefined)
      throw refused(`${error.message}; allow it with \`git config --global --add safe.directory ${owned}\``)
    throw error
  }
}

function checkVersion(answer: string): void {
  const [version = '', major = 0, minor = 0] = /(\d+)\.(\d+)[.\d]*/.exec(answer) ?? []
  const isNew = Number(major) > LEAST[0] || (Number(major) === LEAST[0] && Number(minor) >= LEAST[1])
  if (!isNew) throw refused(`git ${version} is too old; ${LEAST.join('.')} or newer is needed`)
}

/** git prints paths of the repository relative to the directory in which it runs. */
function from(directory: string, path: string): string {
  return isAbsolute(path) ? path : join(directory, path)
}

function refused(why: string): GitError {
  return new GitError('refused', why)
}

/**
 * Stores the staged, changed, deleted and new files of a checkout as a commit, without ignored ones. Writes to a copy of the
 * index, so that it works even while the index is locked.
 */
export async function snapshot(
  git: Git,
  { root, index, head, tree: before }: Checkout,
  { message, identity, isTrackedOnly }: SnapshotOptions,
): Promise<Snapshot> {
  const tree = await treeOf(git, root, index, isTrackedOnly)
  if (tree === before) return { tree, commit: head, head }
  return { tree, commit: await commitTree(git, root, tree, [head], message, identity), head }
}

/**
 * Writes all files of a checkout, except ignored ones, as a tree, and returns its hash.
 *
 * @param isTrackedOnly whether to leave out the files that git does not track yet
 */
export async function treeOf(git: Git, root: string, index: string, isTrackedOnly = false): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'opencode-background-index-'))
  const copy = join(directory, 'index')
  try {
    if (existsSync(index)) {
      await copyFile(index, copy, constants.COPYFILE_FICLONE)
      // git re-reads each file whose mtime is not older than that of the index. A copy with a newer mtime would hide changes.
      const second = Math.floor((await stat(index)).mtimeMs / 1000)
      await utimes(copy, second, second)
    }
    const env = { GIT_INDEX_FILE: copy }
    await git(root, ['add', isTrackedOnly ? '--update' : '--all'], { env }).catch((error: Error) => {
      if (!error.message.includes('does not have a commit')) throw error
      throw refused(`${error.message}; commit in that repository, or add it to .gitignore`)
    })
    return (await git(root, ['write-tree'], { env })).stdout.trim()
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

export async function commitTree(
  git: Git,
  root: string,
  tree: string,
  parents: readonly string[],
  message: string,
  identity: Identity,
): Promise<string> {
  const args = ['commit-tree', '--no-gpg-sign', tree, ...parents.flatMap((parent) => ['-p', parent])]
  return (await git(root, args, { env: identity, input: message })).stdout.trim()
}

/** Returns no variables if git is configured with an identity, otherwise our own identity. */
export async function identityAt(git: Git, root: string): Promise<Identity> {
  const ask = ['-c', 'user.useConfigOnly=true', 'var', 'GIT_COMMITTER_IDENT']
  return (await git(root, ask, { answers: [128] })).code === 0 ? {} : OWN_IDENTITY
}

/** Returns the path of a file in git's own directory of a checkout, such as its index. */
export async function gitPath(git: Git, directory: string, name: string): Promise<string> {
  return (await git(directory, ['rev-parse', '--path-format=absolute', '--git-path', name])).stdout.trim()
}

/** Counts the files of `after` that `before` lacks, and all others that differ. */
export async function differences(
  git: Git,
  root: string,
  before: string,
  after: string,
): Promise<{ readonly changed: number; readonly created: number }> {
  const args = ['diff-tree', '-r', '--no-renames', '--name-status', '-z', before, after]
  const fields = fieldsOf(await git(root, args))
  const kinds = fields.filter((_, position) => position % 2 === 0)
  const created = kinds.filter((kind) => kind === 'A').length
  return { changed: kinds.length - created, created }
}
