/** Builds the package into dist: `npm run build`. */
import { build as bundleWith } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { optionsSchema } from '../src/config.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The package's entries: what the host loads, and what other plugins import. */
const ENTRIES = { server: 'server.ts', manager: 'library.ts' }

/**
 * Bundles the entries into `outdir` and returns the path of the server's bundle. Everything of an entry is in one
 * file, since the host resolves no dependency for a plugin from a path (contract 13.4).
 */
export async function bundle(outdir: string): Promise<string> {
  await bundleWith({
    entryPoints: Object.entries(ENTRIES).map(([out, file]) => ({ in: join(root, 'src', file), out })),
    outdir,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  })
  return join(outdir, 'server.js')
}

/** All that the package holds in `dist`. */
export async function build(outdir: string): Promise<void> {
  await bundle(outdir)
  declare(outdir)
  describeOptions(outdir)
}

/** Declarations for each module of ours; those of the entries name the rest. */
function declare(outdir: string): void {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
  const config = join(root, 'scripts', 'tsconfig.build.json')
  execFileSync(process.execPath, [tsc, '-p', config, '--outDir', join(outdir, 'types')], { stdio: 'inherit' })
}

/** For editors: what the second element of the plugin's tuple in opencode.json may hold. */
function describeOptions(outdir: string): void {
  const schema = {
    title: 'Options of opencode-background',
    ...z.toJSONSchema(optionsSchema, { io: 'input' }),
  }
  writeFileSync(join(outdir, 'options.schema.json'), `${JSON.stringify(schema, undefined, 2)}\n`)
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const dist = join(root, 'dist')
  rmSync(dist, { recursive: true, force: true })
  await build(dist)
}
