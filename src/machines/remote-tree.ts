/**
 * The worktree of a task on another machine: git scripts bring the code there, and each end and checkpoint back.
 *
 *   open ──→ fetch (checkpoints, and the end) ──→ drop, once the end was fetched
 *
 * Each can be repeated. Every value in a script is quoted, and comes from us or from the options.
 */
import { relative } from 'node:path'
import type { AgentTask } from '../task/task.ts'
import { BUNDLE_BYTES, makeBundle, rootsOf, transferRef } from '../worktree/bundles.ts'
import { OWN_IDENTITY } from '../worktree/checkout.ts'
import { commitMessage, commitOf } from '../worktree/commit.ts'
import { GitError, type Git } from '../worktree/git.ts'
import { receive, startOf } from '../worktree/transport.ts'
import type { Worktree } from '../work/agent/agent-work.ts'
import type { MachineLink } from './machine-link.ts'
import { quoted, readFileBy, withScripts, writeFileBy, type RunScript } from './scripts.ts'

/** The tree as it is there. */
export interface RemoteTree {
  /** Its top directory, and that of the machine's checkout. */
  readonly root: string
  readonly checkout: string
  /** The directory of the session: where the parent's directory is in its own checkout. */
  readonly directory: string
}

/** About how many of our commits the machine is asked. */
const ASKED_COMMITS = 500
const IDENTITY = Object.entries(OWN_IDENTITY)
  .map(([name, value]) => `${name}=${quoted(value)}`)
  .join(' ')

/** Brings the commit of a run to the machine, and makes its tree there. Rejects with a `GitError`, and with a `HostError`. */
export async function openTree(
  git: Git,
  link: MachineLink,
  { id }: Pick<AgentTask, 'id'>,
  worktree: Worktree,
): Promise<RemoteTree> {
  const start = await startOf(git, worktree, id)
  const known = await knownCommits(git, worktree.checkout, start)
  return withScripts(link, id, async (run) => {
    const { commits, isEmpty } = await factsOf(run, link, known)
    if (commits.length === 0 && !isEmpty)
      throw new GitError(
        'refused',
        `the repository in ${link.options.directory} on ${link.name} has no commit in common with yours: check the option machines.${link.name}.directory, or fetch there`,
      )
    const bundle = await makeBundle(git, worktree.checkout, { id, name: 'in', commit: start }, commits)
    if (bundle) await writeFileBy(run, fileOf(link, id, 'in'), bundle.bytes)
    return madeTree(run, link, id, { ...worktree, start, hasBundle: bundle !== undefined })
  })
}

/** Returns commits that a clone of the repository may have, the newest first, and its first ones. */
async function knownCommits(git: Git, checkout: string, start: string): Promise<string[]> {
  const { stdout } = await git(checkout, ['rev-list', `--max-count=${ASKED_COMMITS}`, start])
  return [...stdout.split('\n').filter((line) => line !== ''), ...(await rootsOf(git, checkout, start))]
}

/** Asks which of these commits the clone there has. The first one that it has is enough, because it has that one's history. */
async function factsOf(
  run: RunScript,
  { options: { directory }, name }: MachineLink,
  known: readonly string[],
): Promise<{ readonly commits: readonly string[]; readonly isEmpty: boolean }> {
  const script = `cd ${quoted(directory)} || { echo "${name}: there is no directory "${quoted(directory)}; exit 1; }
g rev-parse --show-toplevel >/dev/null
for c in ${known.join(' ')}; do
  if g cat-file -e "$c^{commit}" 2>/dev/null; then echo "$c"; break; fi
done
g rev-parse --quiet --verify HEAD >/dev/null || echo empty`
  const lines = (await run(script)).split('\n')
  return { commits: lines.filter((line) => /^[0-9a-f]{40,64}$/.test(line)), isEmpty: lines.includes('empty') }
}

/**
 * Returns the path, as a shell word, of a file beside the objects of the clone, where no search or commit sees it. `partial`
 * exists while git makes or removes the tree: nothing in the directory must be kept then.
 */
function fileOf({ options: { directory } }: MachineLink, id: string, name: 'in' | 'out' | 'partial'): string {
  // Refuses an id that is not ours.
  transferRef({ id, name: 'in' })
  const common = `$(git -C ${quoted(directory)} rev-parse --path-format=absolute --git-common-dir)`
  return `"${common}/opencode-background-${id}.${name}"`
}

/**
 * The first lines of a script: they go to the clone, and remove what a killed git has left: locks of our refs, and a tree whose
 * making or removal was cut off, because its missing files would count as deleted.
 */
function atClone(link: MachineLink, id: string): string {
  const partial = fileOf(link, id, 'partial')
  return `cd ${quoted(link.options.directory)}
top=$(g rev-parse --show-toplevel)
common=$(g rev-parse --path-format=absolute --git-common-dir)
rm -f "$common"/refs/opencode-background/${id}/*.lock
home="\${XDG_STATE_HOME:-$HOME/.local/state}/opencode-background/worktrees/$(basename "$top" | tr -c 'A-Za-z0-9.\\n' _)-$(printf %s "$common" | cksum | cut -d' ' -f1)"
mkdir -p "$home"
root="$(cd "$home" && pwd -P)/${id}"
if [ -e ${partial} ]; then
  rm -rf "$root" 2>/dev/null || { chmod -R u+rwX "$root"; rm -rf "$root"; }
  rm -rf "$common/worktrees/${id}"
  rm ${partial}
fi
`
}

interface Start {
  readonly start: string
  readonly hasBundle: boolean
}

async function madeTree(
  run: RunScript,
  link: MachineLink,
  id: string,
  { branch, root: top, directory: there, start, hasBundle }: Worktree & Start,
): Promise<RemoteTree> {
  const prefix = quoted(relative(top, there))
  const ref = transferRef({ id, name: 'in' })
  const file = fileOf(link, id, 'in')
  const partial = fileOf(link, id, 'partial')
  const fetch = `g fetch --quiet --no-tags --no-write-fetch-head ${file} ${ref}:${ref}; rm -f ${file}`
  const script = `${atClone(link, id)}prefix=${prefix}
${hasBundle ? fetch : ':'}
g update-ref ${ref} ${start}
if [ "$(g -C "$root" rev-parse --show-toplevel 2>/dev/null)" != "$root" ]; then
  rmdir "$root" 2>/dev/null || :
  [ ! -e "$root" ] || { echo "$root exists, and is no worktree of $top: move it away"; exit 1; }
  g worktree prune
  : >${partial}
  rm -f "$common"/refs/heads/${quoted(branch)}.lock
  g worktree add --quiet --no-track --lock --reason ${quoted(`opencode-background ${id}`)} -B ${quoted(branch)} "$root" ${start}
  rm ${partial}
fi
mkdir -p "$root/$prefix"
printf '%s\\n' "$root" "$top" "$root\${prefix:+/$prefix}"`
  const [root = '', checkout = '', directory = ''] = (await run(script)).split('\n').slice(-3)
  return { root, checkout, directory }
}

/**
 * Stores the files of the tree as a commit there, without a change of its index, and fetches it. Returns the commit, which is then
 * under the ref `out`; `undefined` if the tree does not exist. Rejects with a `GitError`, and with a `HostError`.
 */
export async function fetchTree(
  git: Git,
  link: MachineLink,
  task: Pick<AgentTask, 'id' | 'run' | 'description'>,
  worktree: Worktree,
): Promise<string | undefined> {
  const { id } = task
  const ref = transferRef({ id, name: 'out' })
  const file = fileOf(link, id, 'out')
  const fetched = await commitOf(git, worktree.checkout, ref)
  return withScripts(link, id, async (run) => {
    const script = `${atClone(link, id)}root=$(g worktree list --porcelain | sed -n ${quoted(`s,^worktree \\(.*/${id}\\)$,\\1,p`)})
[ -n "$root" ] && [ -d "$root" ] || { echo none; exit 0; }
cd "$root"
index=$(g rev-parse --path-format=absolute --git-path index)
copy="$index.opencode-background"
rm -f "$copy" "$copy.lock" ${file} ${file}.lock
cp -p "$index" "$copy" 2>/dev/null || :
GIT_INDEX_FILE="$copy" g add --all
tree=$(GIT_INDEX_FILE="$copy" g write-tree)
rm -f "$copy"
commit=$(g rev-parse HEAD)
if [ "$tree" != "$(g rev-parse 'HEAD^{tree}')" ]; then
  g -c user.useConfigOnly=true var GIT_COMMITTER_IDENT >/dev/null 2>&1 || export ${IDENTITY}
  commit=$(printf %s ${quoted(commitMessage(task))} | g commit-tree "$tree" -p HEAD)
fi
g update-ref ${ref} "$commit"
set -- "^${transferRef({ id, name: 'in' })}"
${fetched === undefined ? '' : `g cat-file -e ${fetched} 2>/dev/null && set -- "$@" "^${fetched}"`}
if [ -z "$(g rev-list --max-count=1 "$commit" "$@")" ]; then echo "$commit"; echo 0; exit 0; fi
g bundle create --quiet ${file} ${ref} "$@"
echo "$commit"
wc -c <${file}`
    const lines = (await run(script)).split('\n').filter((line) => line !== '')
    const [commit = '', size = ''] = lines.slice(-2)
    if (lines.at(-1) === 'none') return undefined
    const bytes = Number(size)
    if (!/^[0-9a-f]{40,64}$/.test(commit) || !Number.isInteger(bytes))
      throw new GitError('refused', `${link.name} answered ${JSON.stringify(lines.join(' ').slice(0, 80))}`)
    if (bytes > BUNDLE_BYTES)
      throw new GitError(
        'refused',
        `they are ${Math.ceil(bytes / 1_000_000)} MB, and at most ${BUNDLE_BYTES / 1_000_000} travel`,
      )
    const bundle = bytes === 0 ? undefined : await readFileBy(run, file, bytes)
    await receive(git, worktree.checkout, { id, name: 'out', commit, ...(bundle && { bundle }) })
    return commit
  })
}

/** Removes a tree whose end was fetched, with its ignored files, its branch and its refs. Rejects with a `HostError`. */
export async function dropTree(link: MachineLink, id: string, branch: string): Promise<void> {
  const partial = fileOf(link, id, 'partial')
  await withScripts(link, id, (run) =>
    run(`${atClone(link, id)}root=$(g worktree list --porcelain | sed -n ${quoted(`s,^worktree \\(.*/${id}\\)$,\\1,p`)})
rm -f "$common"/refs/heads/${quoted(branch)}.lock
if [ -n "$root" ]; then
  : >${partial}
  g worktree unlock "$root" 2>/dev/null || :
  g worktree remove --force "$root" 2>/dev/null || g worktree prune
  [ -e "$root" ] || rm ${partial}
fi
g update-ref -d ${quoted(`refs/heads/${branch}`)} 2>/dev/null || :
for ref in $(g for-each-ref '--format=%(refname)' refs/opencode-background/${id}/); do g update-ref -d "$ref"; done
rm -f ${fileOf(link, id, 'in')} ${fileOf(link, id, 'out')}`),
  )
}
