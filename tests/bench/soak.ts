/**
 * Measures the server during many short tasks, ours and then OpenCode's own, each on its own server, on Linux:
 * `npm run soak [-- tasks]`. Fails if a task of ours was not reported once, or if too many ran at once.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { LIMIT, startSoak, type Kind, type Lap } from '../harness/soak.ts'
import { PLUGIN } from './contender.ts'
import { median, round } from './numbers.ts'
import { writeResults } from './results.ts'
import { usageOf, type ProcessUsage } from './usage.ts'

const LAPS = 4
const SETTLES_MS = 3000
const MB = 1024 * 1024
const tasks = Number(process.argv[2] ?? 2000)

interface Usage extends ProcessUsage {
  /** Live objects on the JavaScript heap, in bytes, without the contents of strings and buffers. */
  readonly objects: number
}

interface Measured {
  /** Before the first lap, and after each. */
  readonly usages: readonly Usage[]
  readonly laps: readonly Lap[]
  readonly seconds: number
}

async function measure(kind: Kind): Promise<Measured> {
  const home = mkdtempSync(join(tmpdir(), 'opencode-soak-'))
  const file = join(home, 'port')
  const soak = await startSoak({
    ...(kind === 'ours' && { plugin: PLUGIN }),
    others: [[fileURLToPath(new URL('heap.ts', import.meta.url)), { file }]],
  })
  const usage = async (): Promise<Usage> => {
    await sleep(SETTLES_MS)
    const read = usageOf(soak.server.pid)
    const answer = await fetch(`http://127.0.0.1:${readFileSync(file, 'utf8')}`)
    return { ...read, objects: Number(await answer.text()) }
  }
  try {
    const laps: Lap[] = []
    const usages = [await usage()]
    const began = Date.now()
    for (let lap = 0; lap < LAPS; lap += 1) {
      laps.push(await soak.run(Math.round(tasks / LAPS)))
      usages.push(await usage())
    }
    const seconds = (Date.now() - began - LAPS * SETTLES_MS) / 1000
    return { usages, laps, seconds }
  } finally {
    await soak.close()
    rmSync(home, { recursive: true })
  }
}

function figures({ usages, laps, seconds }: Measured): Record<string, number> {
  const [idle, first] = usages
  const last = usages.at(-1)
  if (!idle || !first || !last) throw new Error('Nothing was measured')
  const launches = laps.map((lap) => lap.launches)
  const told = laps.reduce((sum, lap) => sum + lap.told, 0)
  const growth = last.objects - first.objects
  return {
    'tasks told': told,
    'not told once, or else at fault': laps.reduce((sum, { faults }) => sum + faults.length, 0),
    'model calls of children at once, most': Math.max(...laps.map(({ peak }) => peak)),
    'turns of the parents for notices': laps.reduce((sum, { turns }) => sum + turns, 0),
    'launch, ms (p50), first 100': median(launches.flat().slice(0, 100)),
    'launch, ms (p50), last 100': median(launches.flat().slice(-100)),
    'seconds in all': Math.round(seconds),
    'CPU of the server, s per task': round((last.cpu - idle.cpu) / told, 3),
    'resident before, MB': round(idle.resident / MB),
    ...Object.fromEntries(
      usages.slice(1).map(({ resident }, lap) => {
        const after = laps.slice(0, lap + 1).reduce((sum, each) => sum + each.told, 0)
        return [`resident after ${after}, MB`, round(resident / MB)]
      }),
    ),
    'resident, most, MB': round(last.peak / MB),
    'objects on the heap before, MB': round(idle.objects / MB, 1),
    'objects on the heap after, MB': round(last.objects / MB, 1),
    // Excludes the first lap, because it loads much for the first time.
    'their growth, KB per task': round(growth / 1024 / (told - (laps[0]?.told ?? 0)), 2),
  }
}

const ours = await measure('ours')
const native = await measure('native')
const theirs = figures(native)
const rows = Object.entries(figures(ours)).map(([figure, own]) => ({
  figure,
  ours: own,
  native: theirs[figure] ?? '',
}))
const title = `${tasks} short tasks, ${LIMIT} at once`
console.log(writeResults('soak', { title: 'Soak', tables: [{ title, rows }] }))
const faults = ours.laps.flatMap((lap) => lap.faults)
if (faults.length > 0) throw new Error(faults.join('\n'))
