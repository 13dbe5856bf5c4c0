/**
 * The refs of a task, which keep its work from `git gc`:
 *
 *   base            the commit from which its tree was made
 *   run-N           the end of run N, because a later run may move the branch back
 *   before-apply    the state of the checkout before the last apply, with the earlier states as its parents
 *   applied         the end that the last apply wrote into the checkout
 *   left-<commit>   the files of a tree, or the tip of a branch, before a clean-up or a removal
 *   gone            marks the time when a clean-up first found no branch; 30 days later all refs are deleted
 */
import type { Git } from './git.ts'

const REFS = 'refs/opencode-background'
/** The folder of the branches. While a branch has exactly this name, git cannot create them: its ref is a file in that place. */
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
  /** By the last part of the ref's name, as `run-1`. */
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

/** Returns the end of the newest run that changed something; `undefined` if there is none. */
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
