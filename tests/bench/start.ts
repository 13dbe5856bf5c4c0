/** What the plugin adds to the server's start: its own share, and the whole start with it and without. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ScriptedModel } from '../harness/model.ts'
import { startOpencode } from '../harness/server.ts'
import { PLUGIN } from './contender.ts'
import { median, quantile, round } from './numbers.ts'
import type { Table } from './results.ts'

const ROUNDS = 10

export async function startShare(
  model: ScriptedModel,
): Promise<{ readonly table: Table; readonly share: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'opencode-start-'))
  const file = join(folder, 'ms')
  const timed = [
    fileURLToPath(new URL('./timed-plugin.ts', import.meta.url)),
    { plugin: PLUGIN, file },
  ] as const
  const start = async (plugins: Parameters<typeof startOpencode>[0]['plugins'] = []): Promise<number> => {
    const began = performance.now()
    const server = await startOpencode({ model, plugins })
    const took = performance.now() - began
    await server.stop()
    return took
  }
  try {
    const shares: number[] = []
    const starts = { with: [] as number[], without: [] as number[] }
    for (let index = 0; index <= ROUNDS; index += 1) {
      const without = await start()
      const withIt = await start([PLUGIN])
      // Left behind by an earlier start, it would be taken for this one's.
      rmSync(file, { force: true })
      await start([timed])
      // The first ones read files that nobody has read yet.
      if (index === 0) continue
      starts.without.push(without)
      starts.with.push(withIt)
      shares.push(Number(readFileSync(file, 'utf8')))
    }
    const row = (what: string, all: readonly number[]): Table['rows'][number] => ({
      what,
      'ms (p50)': round(median(all), 1),
      'ms (p90)': round(quantile(all, 0.9), 1),
    })
    const rows = [
      row("loading the bundle and building the plugin's rooms, within the server", shares),
      row('start of a server with the plugin', starts.with),
      row('start of a server without it', starts.without),
    ]
    return {
      table: { title: `The server's start, ${ROUNDS} samples each, in turns`, rows },
      share: median(shares),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
