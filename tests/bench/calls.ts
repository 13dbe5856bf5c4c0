/** Measures the plugin's calls of OpenCode for one task, observed by a plugin that is listed before it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ScriptedModel } from '../harness/model.ts'
import { probePlugin } from '../harness/plugin.ts'
import type { Scene } from './scene.ts'
import { ours, PLUGIN, startServer } from './contender.ts'
import type { Table } from './results.ts'

/** Measures the first task of a server, and the next one. OpenCode's own task makes no calls. */
export async function callsOfTask(
  scene: Scene,
  model: ScriptedModel,
): Promise<{ readonly table: Table; readonly most: number }> {
  const probe = probePlugin()
  const server = await startServer(model, [probe.spec, PLUGIN])
  try {
    const rows: Table['rows'][number][] = []
    let most = 0
    for (const task of ['first of a server', 'next']) {
      const from = probe.sightings().length
      await scene.sample(ours(server), 1)
      await sleep(1000)
      const calls = probe
        .sightings()
        .slice(from)
        .flatMap((seen) => (seen.kind === 'call' ? [seen] : []))
      const launch = calls.find(({ method, path }) => method === 'POST' && path === '/session')
      for (const { at, method, path } of calls) {
        const since = at - (launch?.at ?? at)
        rows.push({ task, call: `${method} ${path.replace(/ses_\w+/, 'ses')}`, 'ms after the launch': since })
      }
      // Excludes the list of agents, because it is requested once.
      most = Math.max(most, calls.filter(({ path }) => path !== '/agent').length)
    }
    return { table: { title: 'Calls of OpenCode for one task, ours', rows }, most }
  } finally {
    await server.stop()
  }
}
