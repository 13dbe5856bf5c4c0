/**
 * Carries commits between two clones of a repository as bundles of git.
 *
 * A bundle that came from elsewhere is not trusted. `takeBundle` reads its header before any git does, unpacks it beside the
 * repository's objects, and checks each object there: nothing of a refused bundle stays. The result is one ref in our own
 * namespace. Fetching would not do: git 2.39 ignores `fetch.fsckObjects` for bundles, and a fetch stores objects before it checks
 * refs.
 */
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listed } from '../text/format.ts'
import { gitPath } from './checkout.ts'
import { commitOf } from './commit.ts'
import { GitError, type Git } from './git.ts'
import { refOf } from './refs.ts'

/** The limit of a bundle. */
export const BUNDLE_BYTES = 50_000_000

/** A commit that travels for a task: `in` to the clone in which its agent works, `out` back from there. */
export interface Transfer {
  readonly id: string
  readonly name: 'in' | 'out'
  readonly commit: string
}

export interface Bundle {
  readonly bytes: Uint8Array
  /** The commits that the reader must have. Without any, the bundle has the whole history. */
  readonly needs: readonly string[]
}

export interface BundleHeader {
  readonly needs: readonly string[]
  readonly refs: readonly { readonly name: string; readonly commit: string }[]
  /** Where the pack begins. */
  readonly length: number
}

const TASK_ID = /^bg_[0-9a-f]{8}$/
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/
/** The limits of a header, far above those of a repository with many branches. */
const HEADER_BYTES = 1_000_000
const NAMED = 3
/** Harmless faults of old histories, which hosts of repositories accept too. */
const ACCEPTED = ['zeroPaddedFilemode', 'missingSpaceBeforeDate', 'badTimezone']

/** Returns the ref of a transfer. Throws a `GitError` for an id that is not ours, because it would name another place. */
export function transferRef({ id, name }: Pick<Transfer, 'id' | 'name'>): string {
  if (!TASK_ID.test(id)) throw refused(`${JSON.stringify(id)} is no id of a task`)
  return refOf(id, name)
}

/**
 * Makes a bundle of a commit and of its history up to the commits that the reader has. Returns `undefined` if the reader has the
 * commit. Rejects with a `GitError`, also above `BUNDLE_BYTES`.
 *
 * @param known commits that the reader has; those that this repository lacks are ignored
 */
export async function makeBundle(
  git: Git,
  checkout: string,
  transfer: Transfer,
  known: readonly string[] = [],
): Promise<Bundle | undefined> {
  const ref = transferRef(transfer)
  const commit = commitHash(transfer.commit)
  const lacking = new Set(await lackingCommits(git, checkout, known))
  const shared = known.filter((each) => !lacking.has(each))
  const range = [commit, '--not', ...shared]
  const { stdout: first } = await git(checkout, ['rev-list', '--max-count=1', ...range])
  if (first === '') return undefined
  await git(checkout, ['update-ref', ref, commit])
  try {
    const args = ['bundle', 'create', '--quiet', '-', ref, ...shared.map((each) => `^${each}`)]
    const { stdout } = await git(checkout, args, { binary: true, maxBytes: BUNDLE_BYTES })
    const bytes = Buffer.from(stdout, 'latin1')
    return { bytes, needs: headerOf(bytes).needs }
  } catch (error) {
    if (!(error instanceof GitError) || error.reason !== 'large') throw error
    throw refused(`the commits that the other side lacks are more than ${BUNDLE_BYTES / 1_000_000} MB`)
  }
}

/** Returns those of the commits that a repository lacks. Throws a `GitError` for a text that is no hash. */
export async function lackingCommits(
  git: Git,
  checkout: string,
  commits: readonly string[],
): Promise<string[]> {
  if (commits.length === 0) return []
  const input = commits.map((commit) => `${commitHash(commit)}^{commit}\n`).join('')
  const { stdout } = await git(checkout, ['cat-file', '--batch-check=%(objectname)'], { input })
  const answers = stdout.split('\n')
  return commits.filter((commit, index) => answers[index] !== commit)
}

/** Reads the header of a bundle. Throws a `GitError` for bytes that are none. */
export function headerOf(bytes: Uint8Array): BundleHeader {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .subarray(0, HEADER_BYTES)
    .toString('latin1')
  const end = text.indexOf('\n\n')
  const [signature = '', ...lines] = text.slice(0, Math.max(0, end)).split('\n')
  if (!/^# v[23] git bundle$/.test(signature) || !text.startsWith('PACK', end + 2))
    throw bad('the received bytes are no bundle of git')
  const needs: string[] = []
  const refs: { name: string; commit: string }[] = []
  for (const line of lines) {
    const [, sign, commit = '', rest = ''] = /^(-?)([0-9a-f]{40}|[0-9a-f]{64})(?: (.*))?$/.exec(line) ?? []
    if (sign === '-') needs.push(commit)
    else if (sign === '') refs.push({ commit, name: rest })
    // A bundle with a filter lacks objects.
    else if (!/^@object-format=sha(?:1|256)$/.test(line))
      throw bad(`the received bundle has an unknown line in its header: ${JSON.stringify(line.slice(0, 60))}`)
  }
  return { needs, refs, length: end + 2 }
}

/**
 * Takes a bundle into a repository, and sets the ref of its transfer. Rejects with a `GitError` unless it has exactly this commit
 * under this ref, belongs to this repository, and all of its objects are sound. Can be repeated.
 */
export async function takeBundle(
  git: Git,
  checkout: string,
  transfer: Transfer,
  bytes: Uint8Array,
): Promise<void> {
  const ref = transferRef(transfer)
  if (bytes.byteLength > BUNDLE_BYTES)
    throw bad(`the received bundle has more than ${BUNDLE_BYTES / 1_000_000} MB`)
  const header = headerOf(bytes)
  const [found] = header.refs
  if (header.refs.length !== 1 || found?.name !== ref || found.commit !== commitHash(transfer.commit))
    throw bad(`the received bundle does not have exactly ${transfer.commit.slice(0, 12)} as ${ref}`)
  await refuseLacking(git, checkout, header.needs)
  await verify(git, checkout, bytes)
  await unpack(git, checkout, header, transfer.commit, bytes)
  await git(checkout, ['update-ref', ref, transfer.commit])
}

/** Returns the first commits of a repository, which identify it in each clone. */
export async function rootsOf(git: Git, checkout: string, from = '--all'): Promise<string[]> {
  const { stdout } = await git(checkout, ['rev-list', '--max-parents=0', from])
  return stdout.split('\n').filter((line) => line !== '')
}

async function refuseLacking(git: Git, checkout: string, needs: readonly string[]): Promise<void> {
  const lacking = await lackingCommits(git, checkout, needs)
  if (lacking.length === 0) return
  const short = lacking.map((commit) => commit.slice(0, 12))
  throw refused(
    `the received bundle builds on commits that this repository lacks: ${listed(short, NAMED)}; fetch them first`,
  )
}

/** Has git check the header, and that the histories of the prerequisites are complete here. */
async function verify(git: Git, checkout: string, bytes: Uint8Array): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'opencode-background-bundle-'))
  try {
    const file = join(directory, 'bundle')
    await writeFile(file, bytes, { mode: 0o600 })
    await git(checkout, ['bundle', 'verify', '--quiet', file])
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Unpacks a bundle into a directory beside the objects, checks them there, and moves the pack to the others. */
async function unpack(
  git: Git,
  checkout: string,
  { needs, length }: BundleHeader,
  commit: string,
  bytes: Uint8Array,
): Promise<void> {
  const objects = await gitPath(git, checkout, 'objects')
  // `git gc` removes directories of this name that a killed process has left.
  const own = await mkdtemp(join(objects, 'tmp_objdir-opencode-background-'))
  const env = { GIT_OBJECT_DIRECTORY: own }
  try {
    await mkdir(join(own, 'info'))
    // Not by an environment variable, because a colon in the path would separate two paths there.
    await writeFile(join(own, 'info', 'alternates'), `${objects}\n`)
    const strict = `--strict=${ACCEPTED.map((fault) => `${fault}=ignore`).join(',')}`
    const index = ['index-pack', '--stdin', '--fix-thin', strict, `--max-input-size=${BUNDLE_BYTES}`]
    await git(checkout, index, { env, input: bytes.subarray(length) })
    const at = (directory: string, args: Parameters<Git>[1], options?: Parameters<Git>[2]) =>
      git(directory, args, { ...options, env })
    if ((await commitOf(at, checkout, commit)) === undefined)
      throw bad(`the received bundle lacks its commit ${commit.slice(0, 12)}`)
    // A bundle that builds on commits of this repository belongs to it.
    if (needs.length === 0) {
      const known = new Set(await rootsOf(git, checkout))
      const roots = await rootsOf(at, checkout, commit)
      if (!roots.some((root) => known.has(root)))
        throw bad('the received bundle is of another repository: they have no first commit in common')
    }
    await movePacks(join(own, 'pack'), join(objects, 'pack'))
  } finally {
    await rm(own, { recursive: true, force: true })
  }
}

/** Moves packs, each with its index last, because git reads a pack once that exists. */
async function movePacks(from: string, to: string): Promise<void> {
  const rank = (name: string): number => Number(name.endsWith('.idx'))
  const names = (await readdir(from)).filter((name) => name.startsWith('pack-'))
  await mkdir(to, { recursive: true })
  for (const name of names.toSorted((one, other) => rank(one) - rank(other)))
    await rename(join(from, name), join(to, name))
}

/** Returns a hash as it is. Throws a `GitError` for any other text, which git could take for an option or a name. */
function commitHash(commit: string): string {
  if (!COMMIT.test(commit)) throw bad(`${JSON.stringify(commit.slice(0, 60))} is no hash of a commit`)
  return commit
}

function refused(why: string): GitError {
  return new GitError('refused', why)
}

function bad(why: string): GitError {
  return new GitError('bad', why)
}
