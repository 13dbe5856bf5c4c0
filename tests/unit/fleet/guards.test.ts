/** Takes each guard out of the source, and expects that the simulation finds what it guards against. */
import { build } from 'esbuild'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { GUARDS, type Guard } from '../../simulate/guards.ts'
import type { simulate } from '../../simulate/simulation.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]
let place: string

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), 'guards-'))
})
afterAll(() => rmSync(place, { recursive: true }))

/** Builds the simulation without a guard. */
async function simulationWithout({ file, guard, without }: Guard): Promise<typeof simulate> {
  const outfile = join(
    place,
    `${GUARDS.findIndex((each) => each.guard === guard && each.without === without)}.mjs`,
  )
  await build({
    entryPoints: [join(root, 'tests/simulate/simulation.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
    logLevel: 'silent',
    plugins: [
      {
        name: 'without',
        setup(plugin) {
          plugin.onLoad({ filter: new RegExp(`(src/fleet|tests/fleet-model)/${file}$`) }, ({ path }) => {
            const source = readFileSync(path, 'utf8')
            const parts = source.split(guard)
            if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} of: ${guard}`)
            return { contents: parts.join(without), loader: 'ts' }
          })
        },
      },
    ],
  })
  return ((await import(pathToFileURL(outfile).href)) as { simulate: typeof simulate }).simulate
}

test.each(GUARDS.map((guard) => [guard.what, guard] as const))(
  'the simulation fails unless %s',
  async (_, guard) => {
    const run = await simulationWithout(guard)
    const violations = new Set<string>()
    for (const seed of SEEDS) {
      const { violation = 'nothing was found' } = await run({ seed, workers: 20, tasks: 400, faults: 6 })
      // Without its guard a fleet may break another invariant first.
      violations.add(
        violation
          .split('\n', 1)[0]!
          .replace(/^\S+: /, '')
          .replace(/, but .*/, ''),
      )
      if (violations.has(guard.found)) break
    }

    expect([...violations]).toContain(guard.found)
  },
)
