/**
 * The refs of a task, which keep its work from `git gc`:
 *
 *   base            with what its tree began
 *   run-N           the end of a run: a later one may move the branch back
 *   before-apply    the checkout before each apply
 *   applied         the end that the last apply wrote into the checkout
 *   left-<commit>   what stood in a tree, or on the branch, before a clean-up
 *   gone            when a clean-up first found no branch: all of them go 30 days later
 */
import type { Git } from './git.ts'

const REFS = 'refs/opencode-background'
/** The folder of the branches. A branch of this name would be a file in its place. */
export const BRANCHES = 'opencode-background'
const HEADS = `refs/heads/${BRANCHES}`

export interface FoundRef {
  readonly commit: string
  /** When the commit was made, in seconds since the Unix epoch. */
  readonly at: number
}

/** The refs and the branch of a task. */
export interface FoundRefs {
  readonly id: string
  /** By the last part of the name. */
  readonly refs: ReadonlyMap<string, FoundRef>
  /** Its name and commit; `undefined` if it is gone. */
  readonly branch: (FoundRef & { readonly name: string }) | undefined
}

export function refOf(id: string, name: string): string {
  return `${REFS}/${id}/${name}`
}

export function endRef(id: string, run: number): string {
  return refOf(id, `run-${run}`)
}

export function leftRef(id: string, commit: string): string {
  return refOf(id, `left-${commit.slice(0, 12)}`)
}

export function branchOf(id: string, words: string): string {
  return [`${BRANCHES}/${id}`, words].filter((part) => part !== '').join('-')
}

/** Returns the end of the newest run of a task; `undefined` before its first end, and for one without changes. */
export async function newestEnd(git: Git, checkout: string, id: string): Promise<string | undefined> {
  const { stdout } = await git(checkout, [
    'for-each-ref',
    '--format=%(objectname)',
    '--sort=-version:refname',
    '--count=1',
    `${REFS}/${id}/run-*`,
  ])
  return stdout === '' ? undefined : stdout.trim()
}

/** Returns the refs and branches of all tasks of a repository. */
export async function findRefs(git: Git, checkout: string): Promise<FoundRefs[]> {
  const format = '--format=%(refname) %(objectname) %(committerdate:unix)'
  const { stdout } = await git(checkout, ['for-each-ref', format, REFS, HEADS])
  const found = new Map<string, { refs: Map<string, FoundRef>; branch: FoundRefs['branch'] }>()
  const of = (id: string): { refs: Map<string, FoundRef>; branch: FoundRefs['branch'] } => {
    const known = found.get(id) ?? { refs: new Map<string, FoundRef>(), branch: undefined }
    found.set(id, known)
    return known
  }
  for (const line of stdout.split('\n')) {
    const [name = '', commit = '', at = ''] = line.split(' ')
    const ref = { commit, at: Number(at) }
    const [, ownID, own] = /^refs\/opencode-background\/(bg_\w+)\/(.+)$/.exec(name) ?? []
    if (ownID !== undefined && own !== undefined) of(ownID).refs.set(own, ref)
    const [, headID] = /^refs\/heads\/opencode-background\/(bg_[^\W_]+)(?:-.*)?$/.exec(name) ?? []
    if (headID !== undefined) of(headID).branch = { ...ref, name: name.slice('refs/heads/'.length) }
  }
  return [...found].map(([id, each]) => ({ id, ...each }))
}
