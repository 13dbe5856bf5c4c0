/** What a test lists under `plugins`: our own plugin as it is shipped, and the probe. */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from '../../scripts/build.ts'
import type { Fault, FaultyOptions } from './faulty.ts'
import type { Sighting } from './probe.ts'

let built: Promise<string> | undefined

/** Bundles the plugin as the package does, once for each test process, and returns the bundle's absolute path. */
export function buildPlugin(): Promise<string> {
  built ??= bundle(mkdtempSync(join(tmpdir(), 'opencode-plugin-')))
  return built
}

export interface FaultyPlugin {
  /** For `plugins`: our plugin, with `tests/harness/faulty.ts` between it and the host. */
  readonly spec: readonly [path: string, options: object]
  /** What goes wrong from now on. */
  set(fault: Fault): void
}

/** @param options those of our plugin */
export async function faultyPlugin(options: Record<string, unknown>): Promise<FaultyPlugin> {
  const file = join(mkdtempSync(join(tmpdir(), 'opencode-faulty-')), 'fault')
  const set = (fault: Fault): void => writeFileSync(file, fault)
  set('none')
  const wrapped: FaultyOptions = { plugin: await buildPlugin(), options, file }
  return { spec: [fileURLToPath(new URL('./faulty.ts', import.meta.url)), wrapped], set }
}

export interface Probe {
  /** For `plugins`. Listed first, it also sees the SDK calls that the other plugins make. */
  readonly spec: readonly [path: string, options: object]
  /** What the probe has seen so far in all directories, the oldest first. */
  sightings(): readonly Sighting[]
  /**
   * Runs JavaScript inside OpenCode, with the plugin's `client` and `input` in scope, and returns what it returns,
   * as JSON. A throw rejects.
   */
  run(code: string, options?: { readonly directory?: string }): Promise<unknown>
}

/** A probe with a log of its own: one for each server. */
export function probePlugin(): Probe {
  const log = join(mkdtempSync(join(tmpdir(), 'opencode-probe-')), 'sightings.jsonl')

  function sightings(): readonly Sighting[] {
    if (!existsSync(log)) return []
    const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line) as Sighting)
  }

  return {
    spec: [fileURLToPath(new URL('./probe.ts', import.meta.url)), { log }],
    sightings,
    async run(code, { directory } = {}) {
      // The newest: an instance that was disposed has started again on another port.
      const ready = sightings().findLast(
        (sighting) => sighting.kind === 'ready' && (directory ?? sighting.directory) === sighting.directory,
      )
      if (ready?.kind !== 'ready') throw new Error(`No probe runs in ${directory ?? 'any directory'}`)
      const response = await fetch(`http://127.0.0.1:${ready.port}`, { method: 'POST', body: code })
      const answer = (await response.json()) as { value?: unknown; threw?: string }
      if (answer.threw !== undefined) throw new Error(answer.threw)
      return answer.value
    },
  }
}
