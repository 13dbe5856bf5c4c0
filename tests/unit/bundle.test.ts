import { build } from 'esbuild'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { apart, bundle } from '../../scripts/build.ts'

/** 200 KB of 1,024 bytes. */
const CEILING_BYTES = 200 * 1024

test("the plugin's server bundle has at most 200 KB, without the parser of command lines", async () => {
  const outdir = mkdtempSync(join(tmpdir(), 'opencode-bundle-'))
  try {
    expect(statSync(await bundle(outdir)).size).toBeLessThanOrEqual(CEILING_BYTES)
  } finally {
    rmSync(outdir, { recursive: true })
  }
})

test('the bundle has no classic schemas of zod, and none of its locales', async () => {
  const used = (await filesOf('server.ts')).flatMap((file) => /zod\/(.*)$/.exec(file)?.[1] ?? [])
  expect(used).toContain('v4/mini/schemas.js')
  expect(used.filter((file) => file.startsWith('v4/classic/') || file.includes('json-schema'))).toEqual([])
  expect(used.filter((file) => file.startsWith('v4/locales/'))).toEqual([])
})

test('the first answer of a tool loads texts alone', async () => {
  const files = await filesOf('tools/render/answers.ts')
  expect(files.filter((file) => file.includes('zod') || file.endsWith('src/manager.ts'))).toEqual([])
})

/** Returns the files of which an entry's bundle has code; those of lazily loaded bundles are not in it. */
async function filesOf(entry: string): Promise<string[]> {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL(`../../src/${entry}`, import.meta.url))],
    bundle: true,
    platform: 'node',
    format: 'esm',
    plugins: [apart],
    metafile: true,
    write: false,
  })
  const [output] = Object.values(metafile.outputs)
  return Object.entries(output?.inputs ?? {}).flatMap(([file, { bytesInOutput }]) =>
    bytesInOutput > 0 ? [file] : [],
  )
}
