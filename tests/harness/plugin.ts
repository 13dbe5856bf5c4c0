/** Builds the plugins of a test: ours as it is shipped or as the test drives it, and the probe. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from '../../scripts/build.ts'
import type { ControlRequest, DrivenOptions } from './inside/protocol.ts'
import type { Sighting } from './probe.ts'

/** The environment variables that pass the bundles to Vitest's workers. */
const SHIPPED = 'OPENCODE_BACKGROUND_BUNDLE'
const DRIVEN = 'OPENCODE_BACKGROUND_DRIVEN_BUNDLE'

/** Vitest's global setup: builds the two bundles once. */
export default async function setup(): Promise<void> {
  process.env[SHIPPED] ??= await buildShipped()
  process.env[DRIVEN] ??= await buildDriven()
}

let shipped: Promise<string> | undefined
let driven: Promise<string> | undefined

/** Resolves with the absolute path of the plugin, bundled as the package does it. */
export function buildPlugin(): Promise<string> {
  shipped ??= Promise.resolve(process.env[SHIPPED] ?? buildShipped())
  return shipped
}

const buildShipped = (): Promise<string> => bundle(mkdtempSync(join(tmpdir(), 'opencode-plugin-')))

/** Builds the plugin with a clock that a test can move, which it shares with the driver plugin. */
const buildDriven = (): Promise<string> =>
  bundle(mkdtempSync(join(tmpdir(), 'opencode-driven-')), undefined, [
    {
      name: 'movable clock',
      setup(bundler) {
        const path = fileURLToPath(new URL('./inside/clock.ts', import.meta.url))
        bundler.onResolve({ filter: /\/clock\.ts$/ }, () => ({ path, external: true }))
      },
    },
  ])

/** Our plugin inside OpenCode, driven by the test. */
export interface DrivenPlugin {
  /** For `plugins`. */
  readonly spec: readonly [path: string, options: object]
  /** Sends a request to the OpenCode process `pid`, and resolves when it is done. */
  control(pid: number, request: ControlRequest): Promise<void>
  /** Removes its files. */
  close(): void
}

/** @param options the options of our plugin */
export async function drivenPlugin(options: object): Promise<DrivenPlugin> {
  driven ??= Promise.resolve(process.env[DRIVEN] ?? buildDriven())
  const directory = mkdtempSync(join(tmpdir(), 'opencode-control-'))
  const wrapped: DrivenOptions = { plugin: await driven, options: { ...options }, directory }
  return {
    spec: [fileURLToPath(new URL('./inside/plugin.ts', import.meta.url)), wrapped],
    async control(pid, request) {
      const port = readFileSync(join(directory, `${pid}`), 'utf8')
      const body = JSON.stringify(request)
      const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body })
      const { threw } = (await response.json()) as { threw?: string }
      if (threw !== undefined) throw new Error(threw)
    },
    close: () => rmSync(directory, { recursive: true, force: true }),
  }
}

export interface Probe {
  /** For `plugins`. Listed first, the probe also logs the SDK calls of the other plugins. */
  readonly spec: readonly [path: string, options: object]
  /** Returns the probe's log of all directories, oldest first. */
  sightings(): readonly Sighting[]
  /**
   * Runs JavaScript inside OpenCode, with the plugin's `client` and `input` in scope, and returns what it returns,
   * as JSON. A throw rejects.
   */
  run(code: string, options?: { readonly directory?: string }): Promise<unknown>
  /** Removes the log. */
  close(): void
}

/** Creates a probe with its own log; each server needs one. */
export function probePlugin(): Probe {
  const directory = mkdtempSync(join(tmpdir(), 'opencode-probe-'))
  const log = join(directory, 'sightings.jsonl')

  function sightings(): readonly Sighting[] {
    if (!existsSync(log)) return []
    const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line) as Sighting)
  }

  return {
    spec: [fileURLToPath(new URL('./probe.ts', import.meta.url)), { log }],
    sightings,
    async run(code, { directory: inner } = {}) {
      // Use the newest, because a disposed instance starts again on another port.
      const ready = sightings().findLast(
        (sighting) => sighting.kind === 'ready' && (inner ?? sighting.directory) === sighting.directory,
      )
      if (ready?.kind !== 'ready') throw new Error(`No probe runs in ${inner ?? 'any directory'}`)
      const response = await fetch(`http://127.0.0.1:${ready.port}`, { method: 'POST', body: code })
      const answer = (await response.json()) as { value?: unknown; threw?: string }
      if (answer.threw !== undefined) throw new Error(answer.threw)
      return answer.value
    },
    close: () => rmSync(directory, { recursive: true, force: true }),
  }
}
