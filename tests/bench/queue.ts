/** Measures the cost of our limits: a launch behind a full queue, and the makespan against the ideal one. */
import type { ScriptedModel } from '../harness/model.ts'
import { launchesOf, type Scene } from './scene.ts'
import { native, ours, PLUGIN, startServer } from './contender.ts'
import { median, round } from './numbers.ts'
import type { Table } from './results.ts'

const LAUNCHES = 30
const STEP = 50
const WORK_MS = 1000
const OFTEN = 1_000_000

/** Measures launches while one child is at work: first with an empty queue, then behind `queued` tasks. */
export async function launchBehind(
  scene: Scene,
  model: ScriptedModel,
  queued: number,
): Promise<{ readonly table: Table; readonly ratio: number }> {
  const options = { concurrency: { total: 1 }, maxTasksPerSession: OFTEN }
  const server = await startServer(model, [[PLUGIN, options]])
  try {
    const contender = ours(server)
    let named = 0
    const parents: string[] = []
    const launch = async (count: number): Promise<string> => {
      const { id } = await scene.launch(contender, count)
      parents.push(id)
      return id
    }
    const oneAfterAnother = async (): Promise<number[]> => {
      const id = await launch(1)
      for (let index = 0; index < LAUNCHES; index += 1)
        await scene.launchMore(contender, id, [`child-9000-${named++}`])
      return launchesOf(await server.messages(id)).map(({ start, end }) => end - start)
    }
    const before = await oneAfterAnother()
    for (let left = queued - LAUNCHES; left > 0; left -= STEP) await launch(Math.min(STEP, left))
    const behind = await oneAfterAnother()
    const working = scene.workingOf(parents)
    if (working !== 1) throw new Error(`${working} ran under a limit of 1, so that not all the others wait`)
    const ratio = round(median(behind) / median(before), 2)
    const rows = [
      { queued: `0 to ${LAUNCHES}`, 'launch, ms (p50)': median(before), most: Math.max(...before) },
      { queued: `${queued} and more`, 'launch, ms (p50)': median(behind), most: Math.max(...behind) },
    ]
    return {
      table: { title: `A launch with a full queue, ours, limit 1, ${LAUNCHES} samples each`, rows },
      ratio,
    }
  } finally {
    await server.stop()
  }
}

/**
 * Measures children of a second's work under several limits, launched in one step. OpenCode's own tasks have no
 * limit, and show the time that the machine needs for as many children.
 */
export async function makespans(scene: Scene, model: ScriptedModel): Promise<Table> {
  const rows: Table['rows'][number][] = []
  for (const [limit, count] of [
    [1, 5],
    [5, 20],
    [20, 60],
  ] as const) {
    const server = await startServer(model, [[PLUGIN, { concurrency: { total: limit } }]])
    try {
      const contenders = [ours(server), native(server)]
      for (const contender of contenders) await scene.sample(contender, 1, { workMs: 10 })
      for (const contender of contenders) {
        const { makespan, toldAfter, peak } = await scene.sample(contender, count, { workMs: WORK_MS })
        const isOurs = contender.name === 'ours'
        if (isOurs && peak > limit) throw new Error(`${peak} ran under a limit of ${limit}`)
        const ideal = (isOurs ? Math.ceil(count / limit) : 1) * WORK_MS
        rows.push({
          children: count,
          whose: contender.name,
          limit: isOurs ? limit : 'none',
          'ideal, ms': ideal,
          'makespan, ms': makespan,
          ratio: round(makespan / ideal, 2),
          'all told after, ms': makespan + toldAfter,
        })
      }
    } finally {
      await server.stop()
    }
  }
  return { title: `First launch → last child's end, each child's model takes ${WORK_MS} ms`, rows }
}
