import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  BUNDLE_BYTES,
  headerOf,
  makeBundle,
  takeBundle,
  transferRef,
  type Bundle,
  type Transfer,
} from '../../src/worktree/bundles.ts'
import { git } from '../../src/worktree/git.ts'
import { createRepository, temporary, type Repository } from './repository.ts'

const ID = 'bg_0123abcd'

/** A clone of a repository, which has the commits that the repository has now. */
function cloneOf(repository: Repository): string {
  const clone = join(temporary(), 'clone')
  repository.git(['clone', '--quiet', repository.root, clone])
  return clone
}

function headOf(repository: Repository, directory = repository.root): string {
  return repository.git(['rev-parse', 'HEAD'], directory).trim()
}

/** Commits a file, and returns the transfer of that commit. */
function change(repository: Repository, text = 'changed\n', name: Transfer['name'] = 'in'): Transfer {
  repository.write('README.md', text)
  repository.commit('Change the page')
  return { id: ID, name, commit: headOf(repository) }
}

async function bundleOf(
  repository: Repository,
  transfer: Transfer,
  known: readonly string[] = [],
): Promise<Bundle> {
  const bundle = await makeBundle(git, repository.root, transfer, known)
  if (!bundle) throw new Error('the bundle would be empty')
  return bundle
}

/** The refs and the number of files among the objects: what a refused bundle must leave as they are. */
function stateOf(directory: string): unknown {
  return {
    refs: execFileSync('git', ['for-each-ref'], { cwd: directory }).toString(),
    objects: readdirSync(join(directory, '.git', 'objects'), { recursive: true })
      .map(String)
      .toSorted(),
  }
}

/** Expects that a clone refuses a bundle with a message, and keeps nothing of it. */
async function expectRefusal(
  clone: string,
  transfer: Transfer,
  bytes: Uint8Array,
  message: string | RegExp,
): Promise<void> {
  const before = stateOf(clone)
  await expect(takeBundle(git, clone, transfer, bytes)).rejects.toThrow(message)
  expect(stateOf(clone)).toEqual(before)
}

describe('a bundle', () => {
  test('carries a commit and its files to a clone, under the ref of its task', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const base = headOf(repository)
    const transfer = change(repository)
    const { bytes, needs } = await bundleOf(repository, transfer, [base])
    expect(needs).toEqual([base])
    await takeBundle(git, clone, transfer, bytes)
    const ref = `refs/opencode-background/${ID}/in`
    expect(repository.git(['rev-parse', ref], clone).trim()).toBe(transfer.commit)
    expect(repository.git(['show', `${ref}:README.md`], clone)).toBe('changed\n')
    expect(repository.git(['fsck', '--full', '--strict'], clone)).not.toContain('error')
  })

  test('has only the commits that the other side lacks, so that an edit is small', async () => {
    const repository = createRepository()
    repository.write('large.bin', randomBytes(500_000).toString('base64'))
    repository.commit('A large file')
    const base = headOf(repository)
    const transfer = change(repository)
    expect((await bundleOf(repository, transfer, [base])).bytes.byteLength).toBeLessThan(1000)
    expect((await bundleOf(repository, transfer)).bytes.byteLength).toBeGreaterThan(500_000)
  })

  test('ignores commits of the other side that this clone has never seen', async () => {
    const repository = createRepository()
    const base = headOf(repository)
    const transfer = change(repository)
    const { needs } = await bundleOf(repository, transfer, ['f'.repeat(40), base])
    expect(needs).toEqual([base])
  })

  test('is not made where the other side has the commit', async () => {
    const repository = createRepository()
    const base = headOf(repository)
    const transfer = change(repository)
    const own = { ...transfer, commit: base }
    expect(await makeBundle(git, repository.root, own, [base])).toBe(undefined)
    expect(await makeBundle(git, repository.root, own, [transfer.commit])).toBe(undefined)
  })

  test('brings the whole history to a clone whose later commits it lacks', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const transfer = change(repository)
    const { bytes, needs } = await bundleOf(repository, transfer)
    expect(needs).toEqual([])
    await takeBundle(git, clone, transfer, bytes)
    expect(repository.git(['show', `${transferRef(transfer)}:README.md`], clone)).toBe('changed\n')
  })

  test('can be taken twice, and moves its ref forward', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const base = headOf(repository)
    const first = change(repository, 'first\n', 'out')
    const { bytes } = await bundleOf(repository, first, [base])
    await takeBundle(git, clone, first, bytes)
    await takeBundle(git, clone, first, bytes)
    const second = change(repository, 'second\n', 'out')
    await takeBundle(git, clone, second, (await bundleOf(repository, second, [base])).bytes)
    expect(repository.git(['show', `${transferRef(second)}:README.md`], clone)).toBe('second\n')
  })

  test('is taken into a repository whose path has a colon and a space', async () => {
    const repository = createRepository('a project: it')
    const base = headOf(repository)
    const transfer = change(repository)
    const { bytes } = await bundleOf(repository, transfer, [base])
    repository.git(['reset', '--quiet', '--hard', base])
    repository.git(['update-ref', '-d', transferRef(transfer)])
    repository.git(['reflog', 'expire', '--expire=now', '--all'])
    repository.git(['prune', '--expire=now'])
    await takeBundle(git, repository.root, transfer, bytes)
    expect(repository.git(['show', `${transferRef(transfer)}:README.md`])).toBe('changed\n')
  })

  test('above 50 MB is refused with the reason', async () => {
    const repository = createRepository()
    const base = headOf(repository)
    writeFileSync(join(repository.root, 'large.bin'), randomBytes(BUNDLE_BYTES))
    repository.commit('A large file')
    const transfer = { id: ID, name: 'in', commit: headOf(repository) } as const
    await expect(makeBundle(git, repository.root, transfer, [base])).rejects.toThrow(
      'the commits that the other side lacks are more than 50 MB',
    )
  })
})

describe('a received bundle is refused, and nothing of it stays,', () => {
  test('if it is none', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const transfer = change(repository)
    const texts = ['', 'hello', '#!/bin/sh\nrm -rf /\n', '# v2 git bundle\n', '# v2 git bundle\n\nno pack']
    for (const text of texts)
      await expectRefusal(clone, transfer, Buffer.from(text), 'the received bytes are no bundle of git')
  })

  test('if its pack is cut off or changed', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const base = headOf(repository)
    const transfer = change(repository)
    const { bytes } = await bundleOf(repository, transfer, [base])
    await expectRefusal(clone, transfer, bytes.subarray(0, -30), 'git index-pack')
    const changed = Buffer.from(bytes)
    const last = changed.length - 25
    changed[last] = (changed[last] ?? 0) ^ 255
    await expectRefusal(clone, transfer, changed, 'git index-pack')
  })

  test('if it is of another repository', async () => {
    const other = createRepository('other')
    other.write('other.txt', 'other\n')
    other.commit('Of another repository')
    const transfer = { id: ID, name: 'in', commit: headOf(other) } as const
    const { bytes } = await bundleOf(other, transfer)
    const repository = createRepository()
    repository.git(['commit', '--quiet', '--amend', '--message', 'Another first commit'])
    const clone = cloneOf(repository)
    await expectRefusal(clone, transfer, bytes, 'of another repository')
  })

  test('if it builds on commits that the repository lacks', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const { commit: unknown } = change(repository, 'not in the clone\n')
    const transfer = change(repository)
    const { bytes } = await bundleOf(repository, transfer, [unknown])
    await expectRefusal(clone, transfer, bytes, `commits that this repository lacks: ${unknown.slice(0, 12)}`)
  })

  test('if it has another ref, a further ref, or another commit', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const base = headOf(repository)
    const transfer = change(repository)
    const bundle = (...refs: readonly string[]): Buffer =>
      execFileSync('git', ['bundle', 'create', '--quiet', '-', ...refs, `^${base}`], { cwd: repository.root })
    const ref = transferRef(transfer)
    repository.git(['update-ref', ref, transfer.commit])
    repository.git(['update-ref', 'refs/opencode-background/bg_99999999/in', transfer.commit])
    const why = /does not have exactly [0-9a-f]{12} as refs\/opencode-background\/bg_0123abcd\/in/
    await expectRefusal(clone, transfer, bundle('refs/heads/main'), why)
    await expectRefusal(clone, transfer, bundle('refs/opencode-background/bg_99999999/in'), why)
    await expectRefusal(clone, transfer, bundle(ref, 'refs/heads/main'), why)
    await expectRefusal(clone, { ...transfer, commit: base }, bundle(ref), why)
  })

  test('if its header names a commit that its pack lacks', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const base = headOf(repository)
    const transfer = change(repository)
    const { bytes } = await bundleOf(repository, transfer, [base])
    const lying = { ...transfer, commit: 'e'.repeat(40) }
    const text = Buffer.from(bytes).toString('latin1').replace(`\n${transfer.commit} `, `\n${lying.commit} `)
    await expectRefusal(clone, lying, Buffer.from(text, 'latin1'), 'lacks its commit eeeeeeeeeeee')
  })

  test('if it is incomplete by a filter', async () => {
    const text = `# v3 git bundle\n@filter=blob:none\n${'a'.repeat(40)} refs/heads/main\n\nPACK`
    expect(() => headerOf(Buffer.from(text))).toThrow('unknown line in its header: "@filter=blob:none"')
  })

  test('if a tree of it has a path into .git, out of the tree, or to the root of the disk', async () => {
    for (const path of ['.git', '.GIT', '..', '.', 'a/b', '/etc/passwd', '../../outside']) {
      const repository = createRepository()
      const clone = cloneOf(repository)
      const { transfer, bytes } = await bundleOfTree(repository, [{ mode: '100644', path, text: 'x' }])
      await expectRefusal(clone, transfer, bytes, /git index-pack: .*(?:hasDot|fullPathname)/i)
    }
  })

  test('if a tree of it has a path below a link of the same name', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const { transfer, bytes } = await bundleOfTree(repository, [
      { mode: '120000', path: 'link', text: '/etc' },
      { mode: '100644', path: 'link', text: 'x' },
    ])
    await expectRefusal(clone, transfer, bytes, /git index-pack: .*duplicateEntries/i)
  })

  test('if its .gitmodules is a link, or runs a command', async () => {
    const trees = [
      [{ mode: '120000', path: '.gitmodules', text: '/etc/passwd' }],
      [{ mode: '100644', path: '.gitmodules', text: '[submodule "x"]\n path = x\n url = -u./payload\n' }],
    ]
    for (const tree of trees) {
      const repository = createRepository()
      const clone = cloneOf(repository)
      const { transfer, bytes } = await bundleOfTree(repository, tree)
      await expectRefusal(clone, transfer, bytes, /git index-pack: .*gitmodules/i)
    }
  })

  test('if it has more than 50 MB', async () => {
    const repository = createRepository()
    const clone = cloneOf(repository)
    const transfer = change(repository)
    await expectRefusal(clone, transfer, Buffer.alloc(BUNDLE_BYTES + 1), 'has more than 50 MB')
  })
})

test('no id, name or commit of a job leaves the refs of tasks', async () => {
  const repository = createRepository()
  const transfer = change(repository)
  const ids = ['bg_0123abc', 'bg_0123ABCD', '../heads/main', 'bg_0123abcd/../../heads', 'bg_0123abcd\n', '']
  for (const id of ids) {
    expect(() => transferRef({ id, name: 'in' })).toThrow('is no id of a task')
    await expect(makeBundle(git, repository.root, { ...transfer, id })).rejects.toThrow('is no id of a task')
    await expect(takeBundle(git, repository.root, { ...transfer, id }, Buffer.from(''))).rejects.toThrow(
      'is no id of a task',
    )
  }
  for (const commit of ['HEAD', '--upload-pack=touch /tmp/x', 'main', `${transfer.commit}^`, ''])
    await expect(makeBundle(git, repository.root, { ...transfer, commit })).rejects.toThrow(
      'is no hash of a commit',
    )
  await expect(makeBundle(git, repository.root, transfer, ['--all'])).rejects.toThrow(
    'is no hash of a commit',
  )
})

/** Makes a bundle whose tree no git would write, for the commit after HEAD. */
async function bundleOfTree(
  repository: Repository,
  entries: readonly { readonly mode: string; readonly path: string; readonly text: string }[],
): Promise<{ readonly transfer: Transfer; readonly bytes: Uint8Array }> {
  const { root } = repository
  const hashObject = (type: string, content: Buffer | string): string => {
    const file = join(temporary(), 'object')
    writeFileSync(file, content)
    const args = ['hash-object', '-t', type, '-w', '--literally', '--no-filters', file]
    return repository.git(args, root).trim()
  }
  const tree = Buffer.concat(
    entries.flatMap(({ mode, path, text }) => [
      Buffer.from(`${mode} ${path}\0`),
      Buffer.from(hashObject('blob', text), 'hex'),
    ]),
  )
  const base = headOf(repository)
  const commit = repository
    .git(['commit-tree', hashObject('tree', tree), '-p', base, '-m', 'A hostile tree'])
    .trim()
  const transfer = { id: ID, name: 'in', commit } as const
  return { transfer, bytes: (await bundleOf(repository, transfer, [base])).bytes }
}
