/**
 * Packs the package of this checkout: `npm run tarball [-- DIRECTORY]`. OpenCode caches an installed package
 * by the name of its tarball, and never reads it again. So each pack has a unique version, and thereby file
 * name, from the commit and the packed contents. The checkout stays unchanged.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from './build.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
/** npm packs these regardless of `files`. */
const ALWAYS = ['README.md', 'LICENSE']

interface Manifest {
  readonly version: string
  readonly files: readonly string[]
  readonly scripts?: unknown
}

/** Builds the package, packs it into `directory`, and returns the tarball's path. */
async function pack(directory: string): Promise<string> {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
  const staging = mkdtempSync(join(tmpdir(), 'opencode-background-'))
  try {
    await build(join(staging, 'dist'))
    for (const name of [...manifest.files, ...ALWAYS])
      if (name !== 'dist') cpSync(join(root, name), join(staging, name), { recursive: true })
    // The scripts work only in the checkout.
    const { scripts: _, ...packed } = manifest
    const write = (version: string): void =>
      writeFileSync(
        join(staging, 'package.json'),
        `${JSON.stringify({ ...packed, version }, undefined, 2)}\n`,
      )
    write(manifest.version)
    write(versionOf(manifest.version, staging))
    const options = { cwd: staging, encoding: 'utf8' } as const
    const name = execFileSync('npm', ['pack', '--silent', '--pack-destination', directory], options).trim()
    return join(directory, name)
  } finally {
    rmSync(staging, { recursive: true })
  }
}

/** Returns the version: a release's is that of package.json, a development version adds commit and digest. */
function versionOf(version: string, staging: string): string {
  if (!version.endsWith('-dev')) return version
  const commit = git('rev-parse', '--short', 'HEAD')
  if (commit !== undefined && git('status', '--porcelain') === '') return `${version}.g${commit}`
  // An identifier of digits alone must not begin with 0 (semver).
  return [version, ...(commit === undefined ? [] : [`g${commit}`]), `x${digestOf(staging)}`].join('.')
}

/** Returns git's output; `undefined` outside of a git checkout. */
function git(...args: readonly string[]): string | undefined {
  try {
    return execFileSync('git', args, {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return undefined
  }
}

function digestOf(directory: string): string {
  const hash = createHash('sha256')
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  for (const path of files.map(({ parentPath, name }) => join(parentPath, name)).toSorted()) {
    hash.update(path.slice(directory.length))
    hash.update(readFileSync(path))
  }
  return hash.digest('hex').slice(0, 8)
}

console.log(await pack(resolve(process.argv[2] ?? root)))
