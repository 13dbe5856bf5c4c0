/** Builds the package into dist: `npm run build`. */
import { build as bundleWith } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * Bundles the server part into `outdir` and returns the path of the bundle. Everything is in that one file, since the
 * host resolves no dependency for a plugin from a path (contract 13.4).
 */
export async function bundle(outdir: string): Promise<string> {
  const outfile = join(outdir, 'server.js')
  await bundleWith({
    entryPoints: [join(root, 'src', 'server.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  })
  return outfile
}

/** The types of the entry: its declarations import nothing of ours, so that one file is enough. */
function declare(outdir: string): void {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
  const scratch = mkdtempSync(join(tmpdir(), 'opencode-background-types-'))
  try {
    const config = join(root, 'scripts', 'tsconfig.build.json')
    execFileSync(process.execPath, [tsc, '-p', config, '--outDir', scratch], { stdio: 'inherit' })
    copyFileSync(join(scratch, 'server.d.ts'), join(outdir, 'server.d.ts'))
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const dist = join(root, 'dist')
  rmSync(dist, { recursive: true, force: true })
  await bundle(dist)
  declare(dist)
}
