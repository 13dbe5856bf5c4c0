import { build } from 'esbuild'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { bundle } from '../../scripts/build.ts'

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

test('the bundle has no classic schemas of zod, and no locale but English', async () => {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL('../../src/server.ts', import.meta.url))],
    bundle: true,
    platform: 'node',
    format: 'esm',
    metafile: true,
    write: false,
  })
  const [output] = Object.values(metafile.outputs)
  const used = Object.entries(output?.inputs ?? {}).flatMap(([file, { bytesInOutput }]) =>
    bytesInOutput > 0 ? (/zod\/(.*)$/.exec(file)?.[1] ?? []) : [],
  )
  expect(used).toContain('v4/mini/schemas.js')
  expect(used.filter((file) => file.startsWith('v4/classic/') || file.includes('json-schema'))).toEqual([])
  expect(used.filter((file) => file.startsWith('v4/locales/'))).toEqual(['v4/locales/en.js'])
})
