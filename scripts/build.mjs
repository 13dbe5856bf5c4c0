/** Bundles the plugin. The host resolves no dependency for a plugin from a path, so everything is in one file. */
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build as bundle } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Bundles src/server.ts into `outdir`, and returns the path of the bundle. */
export async function build(outdir = join(root, 'dist'), entry = join(root, 'src', 'server.ts')) {
  const outfile = join(outdir, 'server.js')
  await bundle({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['bun:*'],
    logLevel: 'warning',
  })
  return outfile
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url))
  await build()
