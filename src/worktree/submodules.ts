/** Fills the submodules of a worktree, and checks whether their directories hold work that exists nowhere else. */
import { existsSync } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { gitPath } from './checkout.ts'
import { commitOf } from './commit.ts'
import { fieldsOf, type Git } from './git.ts'
import { leftIgnored } from './included.ts'

/**
 * Fills the empty submodules of a tree, recursively: from the same submodule of the checkout if git has that, otherwise from the
 * remote. git's configuration, which all worktrees share, gets the names only of submodules that are filled from a remote.
 */
export async function fillSubmodules(git: Git, tree: string, checkout: string): Promise<void> {
  if (!existsSync(join(tree, '.gitmodules'))) return
  const links = new Set(await linksOf(git, tree))
  const args = [
    'config',
    '--file',
    '.gitmodules',
    '--null',
    '--get-regexp',
    String.raw`^submodule\..*\.path$`,
  ]
  for (const field of fieldsOf(await git(tree, args, { answers: [1] }))) {
    const [key = '', path = ''] = field.split('\n')
    if (!links.has(path)) continue
    const name = key.slice('submodule.'.length, -'.path'.length)
    if (await isEmpty(join(tree, path))) await fill(git, { tree, checkout, name, path })
    await fillSubmodules(git, join(tree, path), join(checkout, path))
  }
}

async function fill(
  git: Git,
  { tree, checkout, name, path }: Readonly<Record<'tree' | 'checkout' | 'name' | 'path', string>>,
): Promise<void> {
  const local = existsSync(checkout) ? await gitPath(git, checkout, `modules/${name}`) : ''
  if (!existsSync(join(local, 'HEAD'))) {
    await git(tree, ['submodule', '--quiet', 'update', '--init', '--checkout', '--', path])
    return
  }
  const settings = {
    [`submodule.${name}.url`]: local,
    [`submodule.${name}.active`]: 'true',
    // git refuses by default to clone a submodule from a local path. This path is safe, because git itself returned it.
    'protocol.file.allow': 'always',
  }
  const given = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])
  await git(tree, [...given, 'submodule', '--quiet', 'update', '--checkout', '--', path])
  const remote = await git(local, ['config', '--get', 'remote.origin.url'], { answers: [1] })
  if (remote.code === 0) await git(join(tree, path), ['remote', 'set-url', 'origin', remote.stdout.trim()])
}

/**
 * Returns why a directory with repositories in it must be kept: one has changes, ignored files, or commits that neither its
 * remotes nor the same repository of the checkout have. `undefined` if nothing would be lost.
 */
export async function submoduleAtRisk(git: Git, tree: string, checkout: string): Promise<string | undefined> {
  for (const path of await linksOf(git, tree)) {
    const [own, other] = [join(tree, path), join(checkout, path)]
    if (await isEmpty(own)) continue
    const top = await git(own, ['rev-parse', '--show-toplevel'])
    if (top.stdout.trim() !== (await realpath(own))) return `${path} has files, and is no repository`
    const status = ['status', '--porcelain', '--untracked-files=all', '--ignore-submodules=none']
    if ((await git(own, status)).stdout !== '') return `its submodule ${path} has changes`
    const ignored = await leftIgnored(git, { root: own, checkout: other })
    if (ignored.length > 0) return `its submodule ${path} has ignored files: ${ignored.join(', ')}`
    if (!(await hasKnownCommits(git, own, other))) return `its submodule ${path} has commits of its own`
    const nested = await submoduleAtRisk(git, own, other)
    if (nested !== undefined) return nested
  }
  return undefined
}

/** Whether all commits of a repository are those of its remotes, or in the other one. */
async function hasKnownCommits(git: Git, own: string, other: string): Promise<boolean> {
  const refs = await git(own, [
    'for-each-ref',
    '--format=%(objectname)',
    'refs/heads',
    'refs/tags',
    'refs/stash',
  ])
  const head = await commitOf(git, own, 'HEAD')
  const tips = new Set([...refs.stdout.split('\n'), head ?? ''].filter((tip) => tip !== ''))
  for (const tip of tips) {
    const ofRemotes = await git(own, ['rev-list', '--max-count=1', tip, '--not', '--remotes'])
    if (ofRemotes.stdout === '') continue
    if (!existsSync(join(other, '.git'))) return false
    const ofOther = ['rev-list', '--max-count=1', tip, '--not', '--all', 'HEAD']
    // 128: that repository does not have the commit.
    const { code, stdout } = await git(other, ofOther, { answers: [128] })
    if (code !== 0 || stdout !== '') return false
  }
  return true
}

/** Returns the paths at which a tree has repositories of their own. */
async function linksOf(git: Git, tree: string): Promise<string[]> {
  const entries = fieldsOf(await git(tree, ['ls-files', '--stage', '-z']))
  return entries.flatMap((entry) => {
    const [info = '', path = ''] = entry.split('\t')
    return info.startsWith('160000 ') ? [path] : []
  })
}

async function isEmpty(directory: string): Promise<boolean> {
  return !existsSync(directory) || (await readdir(directory)).length === 0
}
