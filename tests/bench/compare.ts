/** Measures the contenders in turns, so that a slow moment of the machine affects all of them. */
import { median, quantile, round } from './numbers.ts'
import type { Contender } from './contender.ts'
import type { Table } from './results.ts'
import type { Sample, Scene } from './scene.ts'

/** Figure by contender, ours first. */
type Row = Readonly<Record<string, string | number>>

export interface Comparison {
  readonly table: Table
  readonly samples: ReadonlyMap<string, readonly Sample[]>
}

/** Measures `rounds` samples of `count` children each, which end within `spreadMs`. */
export async function compare(
  scene: Scene,
  contenders: readonly Contender[],
  { count, spreadMs, rounds }: { count: number; spreadMs: number; rounds: number },
): Promise<Comparison> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]))
  for (const contender of contenders) await scene.sample(contender, count, { spreadMs })
  for (let index = 0; index < rounds; index += 1) {
    for (const contender of index % 2 === 0 ? contenders : contenders.toReversed()) {
      samples.get(contender.name)?.push(await scene.sample(contender, count, { spreadMs }))
    }
  }
  const title =
    count === 1
      ? `One child, ${rounds} samples each`
      : `${count} children that end within ${spreadMs} ms, ${rounds} samples each`
  return { table: { title, rows: rowsOf(samples, count) }, samples }
}

const FIGURES: readonly {
  readonly name: string
  readonly of: (samples: readonly Sample[]) => number
  readonly forBursts?: true
}[] = [
  { name: 'launch, ms (p50)', of: (all) => median(all.flatMap(({ launches }) => launches)) },
  {
    name: 'launch, ms (p99)',
    of: (all) =>
      quantile(
        all.flatMap(({ launches }) => launches),
        0.99,
      ),
  },
  {
    name: 'all launched after, ms (p50)',
    of: (all) => median(all.map((each) => each.launchedAfter)),
    forBursts: true,
  },
  ...[0.5, 0.9, 0.99].map((share) => ({
    name: `last end → parent's request that tells of all, ms (p${share * 100})`,
    of: (all: readonly Sample[]) =>
      quantile(
        all.map(({ toldAfter }) => toldAfter),
        share,
      ),
  })),
  { name: 'turns of the parent for notices (p50)', of: (all) => median(all.map(({ turns }) => turns)) },
  { name: 'turns of the parent for notices (most)', of: (all) => Math.max(...all.map(({ turns }) => turns)) },
  {
    name: 'characters in the parent beside descriptions and results (most)',
    of: (all) => Math.max(...all.map(({ characters }) => characters)),
  },
]

function rowsOf(samples: ReadonlyMap<string, readonly Sample[]>, count: number): Row[] {
  return FIGURES.filter(({ forBursts }) => !forBursts || count > 1).map(({ name, of }) => {
    const figures = Object.fromEntries([...samples].map(([contender, all]) => [contender, of(all)]))
    const { ours = Number.NaN, native = Number.NaN } = figures
    return { figure: name, ...figures, 'ours / native': round(ours / native, 2) }
  })
}
