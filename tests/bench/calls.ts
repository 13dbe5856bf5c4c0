/** The calls that a plugin makes of OpenCode for one task, seen by a plugin that is listed before it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ScriptedModel } from '../harness/model.ts'
import { probePlugin } from '../harness/plugin.ts'
import type { Scene } from './scene.ts'
import { ours, PLUGIN, startServer } from './contender.ts'
import type { Table } from './results.ts'

/** For the first task of a session, and the next one. OpenCode's own makes none: it is inside. */
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
      // The names of the agents are asked for once.
      most = Math.max(most, calls.filter(({ path }) => path !== '/agent').length)
    }
    return { table: { title: 'Calls of OpenCode for one task, ours', rows }, most }
  } finally {
    await server.stop()
  }
}
