/**
 * Measures the plugin's share of the server's start, and the whole start with it and without. OpenCode's runtime
 * caches the compiled bundle, so that only the first start with a new version takes the full time.
 */
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
  /** Starts a server in the home of an earlier start, or in a new one. */
  const start = async (
    plugins: Parameters<typeof startOpencode>[0]['plugins'] = [],
    kept?: string,
  ): Promise<{ readonly ms: number; readonly home: string }> => {
    const began = performance.now()
    const server = await startOpencode({ model, plugins, ...(kept !== undefined && { home: kept }) })
    const ms = performance.now() - began
    await server.stop({ keepHome: true })
    homes.add(server.home)
    return { ms, home: server.home }
  }
  const share = async (kept?: string): Promise<{ readonly ms: number; readonly home: string }> => {
    // A file of an earlier start would count as the result of this one.
    rmSync(file, { force: true })
    const { home } = await start([timed], kept)
    return { ms: Number(readFileSync(file, 'utf8')), home }
  }
  const homes = new Set<string>()
  try {
    const without = await start()
    const withIt = await start([PLUGIN])
    const shares = { first: [] as number[], later: [] as number[] }
    const starts = { with: [] as number[], without: [] as number[] }
    for (let index = 0; index < ROUNDS; index += 1) {
      starts.without.push((await start([], without.home)).ms)
      starts.with.push((await start([PLUGIN], withIt.home)).ms)
      const first = await share()
      shares.first.push(first.ms)
      shares.later.push((await share(first.home)).ms)
    }
    const row = (what: string, all: readonly number[]): Table['rows'][number] => ({
      what,
      'ms (p50)': round(median(all), 1),
      'ms (p90)': round(quantile(all, 0.9), 1),
    })
    const rows = [
      row("loading the bundle and building the plugin's rooms, within the server", shares.later),
      row('the same where that version of the bundle was never loaded before', shares.first),
      row('start of a server with the plugin', starts.with),
      row('start of a server without it', starts.without),
    ]
    return {
      table: { title: `The server's start, ${ROUNDS} samples each, in turns`, rows },
      share: median(shares.later),
    }
  } finally {
    for (const path of [folder, ...homes]) rmSync(path, { recursive: true, maxRetries: 5 })
  }
}
