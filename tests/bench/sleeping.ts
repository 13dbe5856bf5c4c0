/** Measures CPU, memory and calls of a server while children wait for their model. Linux only. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ScriptedModel } from '../harness/model.ts'
import { probePlugin } from '../harness/plugin.ts'
import type { Scene } from './scene.ts'
import { native, ours, PLUGIN, startServer, type Contender } from './contender.ts'
import { round } from './numbers.ts'
import type { Table } from './results.ts'
import { usageOf } from './usage.ts'

const WINDOW_MS = 20_000
/** Time until the effects of a launch are over. */
const SETTLES_MS = 3000
const STEP = 10

export async function sleepingChildren(
  scene: Scene,
  model: ScriptedModel,
): Promise<{ readonly table: Table; readonly calls: ReadonlyMap<number, number> }> {
  const probes = [probePlugin(), probePlugin()] as const
  const options = { concurrency: { total: 100 }, maxTasksPerSession: 200 }
  const contenders = [
    ours(await startServer(model, [probes[0].spec, [PLUGIN, options]])),
    native(await startServer(model, [probes[1].spec])),
  ]
  const rows: Table['rows'][number][] = []
  const calls = new Map<number, number>()
  let sleeping = 0
  const parents = new Map<Contender, string[]>(contenders.map((contender) => [contender, []]))
  try {
    for (const count of [0, 10, 100]) {
      for (const [contender, ids] of parents)
        for (let launched = sleeping; launched < count; launched += STEP)
          ids.push((await scene.launch(contender, STEP)).id)
      sleeping = count
      await sleep(SETTLES_MS)
      for (const [{ name }, ids] of parents) {
        const working = scene.workingOf(ids)
        if (working !== count) throw new Error(`Of ${count} children of ${name}, ${working} sleep`)
      }
      const before = contenders.map(({ server }) => usageOf(server.pid))
      const seen = probes.map((probe) => probe.sightings().length)
      await sleep(WINDOW_MS)
      for (const [index, { name, server }] of contenders.entries()) {
        const usage = usageOf(server.pid)
        const made =
          probes[index]
            ?.sightings()
            .slice(seen[index])
            .filter(({ kind }) => kind === 'call') ?? []
        if (name === 'ours') {
          if (count > 0 && made.length === 0) throw new Error('Nothing asks whether the children sleep')
          calls.set(count, made.length)
        }
        rows.push({
          children: count,
          whose: name,
          'CPU, ms': round((usage.cpu - (before[index]?.cpu ?? 0)) * 1000),
          'resident, MB': round(usage.resident / 1024 / 1024),
          'calls of OpenCode': made.length,
        })
      }
    }
    return { table: { title: `A server in ${WINDOW_MS / 1000} s with sleeping children`, rows }, calls }
  } finally {
    for (const { server } of contenders) await server.stop()
  }
}
