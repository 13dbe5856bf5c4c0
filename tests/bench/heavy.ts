/** Children with long transcripts: ends and bursts of ours and of OpenCode's own, and how long the host stands still. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ScriptedModel } from '../harness/model.ts'
import type { Stall } from './heavy-plugin.ts'
import { native, ours, PLUGIN, startOld, startServer, type Contender, type Peer } from './contender.ts'
import type { OpencodeServer } from '../harness/server.ts'
import { median, quantile, round } from './numbers.ts'
import type { Table } from './results.ts'
import type { Sample, Scene } from './scene.ts'
import { addWeight, childrenOf, makeWeight } from './weight.ts'

/** The weights of the children in megabytes, by how many of them end together. */
export const WEIGHTS = { 1: [0, 5, 25], 10: [0, 5] } as const

const SPREAD_MS = 200

interface Heavy extends Sample {
  /** The longest delay of the host's event loop between the ends and their notice, in milliseconds. */
  readonly stallMs: number
}

export async function heavyChildren(
  scene: Scene,
  model: ScriptedModel,
  count: keyof typeof WEIGHTS,
  rounds: number,
  old?: string,
): Promise<{
  readonly table: Table
  /** By the weight of the children. */
  readonly ratios: ReadonlyMap<number, number>
  readonly stallMs: number
}> {
  const folder = mkdtempSync(join(tmpdir(), 'opencode-heavy-'))
  const heavy = (name: string) =>
    [fileURLToPath(new URL('./heavy-plugin.ts', import.meta.url)), { file: join(folder, name) }] as const
  const server = await startServer(model, [heavy('port'), [PLUGIN, { concurrency: { total: 100 } }]])
  const peers: Peer[] = []
  try {
    if (old !== undefined) peers.push(await startOld(model, old, [heavy('port-old')]))
    const contenders = [ours(server), native(server), ...peers.map(({ contender }) => contender)]
    const portOf = (contender: Contender): string =>
      readFileSync(join(folder, contender.name === 'old' ? 'port-old' : 'port'), 'utf8')
    const weightIDs = new Map<OpencodeServer, string>()
    for (const contender of contenders)
      if (!weightIDs.has(contender.server))
        weightIDs.set(contender.server, await makeWeight(scene, contender))
    const sample = async (contender: Contender, megabytes: number): Promise<Heavy> => {
      const url = `http://127.0.0.1:${portOf(contender)}`
      const { server: own } = contender
      const measured = await scene.sample(contender, count, {
        spreadMs: count > 1 ? SPREAD_MS : 0,
        onEnd: async (parentID) => {
          const childIDs = await childrenOf(own, parentID)
          if (childIDs.length !== count) throw new Error(`${parentID} has ${childIDs.length} children`)
          if (megabytes > 0) addWeight(join(own.home, 'data'), weightIDs.get(own) ?? '', megabytes, childIDs)
          await fetch(url)
        },
      })
      return { ...measured, stallMs: ((await (await fetch(url)).json()) as Stall).wallMs }
    }
    const rows: Table['rows'][number][] = []
    const ratios = new Map<number, number>()
    let stallMs = 0
    for (const megabytes of WEIGHTS[count]) {
      const samples = new Map<string, Heavy[]>(contenders.map(({ name }) => [name, []]))
      // The first sample warms up.
      for (let index = 0; index <= rounds; index += 1) {
        for (const contender of index % 2 === 0 ? contenders : contenders.toReversed()) {
          const measured = await sample(contender, megabytes)
          if (index > 0) samples.get(contender.name)?.push(measured)
        }
      }
      const of = (name: string, figure: (each: Heavy) => number): number =>
        round(median((samples.get(name) ?? []).map(figure)), 1)
      const told = ({ toldAfter }: Heavy): number => toldAfter
      const ratio = round(of('ours', told) / of('native', told), 2)
      ratios.set(megabytes, ratio)
      if (megabytes === 25)
        stallMs = of('ours', (each) => each.stallMs) - of('native', (each) => each.stallMs)
      for (const { name } of contenders) {
        const all = samples.get(name) ?? []
        rows.push({
          'transcript, MB': megabytes,
          children: count,
          contender: name,
          'last end → all reported, ms (p50)': of(name, told),
          p90: round(quantile(all.map(told), 0.9), 1),
          turns: of(name, ({ turns }) => turns),
          'longest stall of the host, ms (p50)': of(name, (each) => each.stallMs),
          'ours / native': name === 'ours' ? ratio : '',
        })
      }
    }
    return {
      table: {
        title: `${count === 1 ? 'One child' : `${count} children`} with long transcripts, ${rounds} samples each`,
        rows,
      },
      ratios,
      stallMs,
    }
  } finally {
    for (const peer of peers) await peer.stop()
    await server.stop()
    rmSync(folder, { recursive: true })
  }
}
