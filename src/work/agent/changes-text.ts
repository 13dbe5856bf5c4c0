/** Renders the worktree of an agent, and the changes of a run. Pure. */
import { counted, listed } from '../../text/format.ts'
import { brief, nameForModel } from '../../text/sanitize.ts'
import type { Changes } from '../../task/state.ts'
import type { Place, Worktree } from './agent-work.ts'

/** Maximum characters of a list of paths: a notice contains at most two lists, and 400 characters about the changes. */
const PATHS_LENGTH = 70
/** Maximum characters of the list of files that the branch lacks. */
const LEFT_LENGTH = 60
/** Maximum characters of an error. */
const ERROR_LENGTH = 200
/** Maximum characters of an error that begins with the place of the changes. */
const PLACE_ERROR_LENGTH = 320

/** Returns where an agent works, as a part of a sentence. */
export function whereText(place: Place): string {
  return place.type === 'machine' ? `on ${place.name}` : 'at the fleet'
}

export function placeLines(place: Place): string[] {
  if (place.type === 'fleet') return [`place: ${['the fleet', ...place.labels].join(', ')}`]
  const { name, directory } = place
  return [`machine: ${name}${directory === undefined ? '' : `, in ${directory}`}`]
}

/** Returns the lines about its worktree in an answer about a task. */
export function worktreeLines(
  { branch, directory, base, from, notes = [] }: Worktree,
  place?: Place,
): string[] {
  const { commit, head, changed, created } = base
  const how = commit === head ? 'without' : 'and'
  const also = changed + created === 0 ? '' : ` ${how} your ${changed} changed, ${created} new files`
  return [
    ...(place ? [] : [`worktree: ${directory}`]),
    `branch: ${branch}, from ${from ? `the branch of ${from.taskID}` : `HEAD ${head.slice(0, 7)}${also}`}`,
    ...notes.map((note) => `note: ${note}`),
  ]
}

/** Returns the lines about the changes of a run. */
export function changesLines({ root, branch }: Worktree, changes: Changes, place?: Place): string[] {
  switch (changes.type) {
    case 'none':
      return ['It changed no file; its worktree was removed.']
    case 'kept':
      return [`Its branch has no change. Its worktree ${root} was kept: ${brief(changes.why, ERROR_LENGTH)}.`]
    case 'failed': {
      // Its worker is not known here: the error names the place.
      if (place?.type === 'fleet')
        return [`Its changes are not on its branch: ${brief(changes.message, PLACE_ERROR_LENGTH)}`]
      const where = place ? `${place.directory} on ${place.name}` : root
      return [`Its changes are in ${where}, but not on its branch: ${brief(changes.message, ERROR_LENGTH)}`]
    }
    case 'removed':
      return [`Its branch was removed; \`git branch ${branch} ${changes.commit}\` restores it.`]
    case 'committed': {
      const { commits, files, insertions, deletions, paths } = changes
      const counts = `${counted(commits, 'commit')}, ${counted(files, 'file')} (+${insertions} -${deletions})`
      const named = files === 0 ? '' : `: ${pathsText(paths, files)}`
      return [`Branch ${branch}, ${counts}${named}. ${forecast(changes)}${leftOrRivals(changes)}`]
    }
  }
}

function forecast({ conflicts }: Extract<Changes, { type: 'committed' }>): string {
  if (!conflicts) return 'Whether it applies to your checkout is not known.'
  if (conflicts.length === 0) return 'It applies cleanly to your checkout now.'
  return `It conflicts with your checkout in ${pathsText(conflicts)}.`
}

/** Names the files that the branch lacks, otherwise the rivals, because the notice has room for only one of them. */
function leftOrRivals({ left, rivals = [] }: Extract<Changes, { type: 'committed' }>): string {
  if (left !== undefined) return ` Not on the branch: ${brief(left, LEFT_LENGTH)}.`
  return rivals.length === 0 ? '' : ` The same files were changed by ${rivals.join(', ')}.`
}

/** @param count how many there are, if `paths` are the first ones */
function pathsText(paths: readonly string[], count = paths.length): string {
  const named: string[] = []
  for (const path of paths) {
    const name = nameForModel(brief(path, PATHS_LENGTH))
    if (named.length > 0 && [...named, name].join(', ').length > PATHS_LENGTH) break
    named.push(name)
  }
  return listed(named, named.length, count)
}
