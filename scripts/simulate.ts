/** `npm run simulate [-- --seed N --workers N --tasks N --faults N]`: a fleet with faults, by the million events; a failure is made smaller. */
import { parseArgs } from 'node:util'
import { simulate, type Outcome, type Size } from '../tests/simulate/simulation.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '1000' },
    tasks: { type: 'string', default: '100000' },
    faults: { type: 'string', default: '1' },
  },
})
const size: Size = {
  seed: Number(values.seed),
  workers: Number(values.workers),
  tasks: Number(values.tasks),
  faults: Number(values.faults),
}

async function run(of: Size): Promise<Outcome> {
  const start = performance.now()
  const outcome = await simulate(of)
  const { checks, ends, figures, limits, most, simulatedMs, violation } = outcome
  const count = [...checks.values()].reduce((sum, each) => sum + each, 0)
  const hours = (simulatedMs / 3_600_000).toFixed(2)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const megabytes = Math.round(process.resourceUsage().maxRSS / 1024)
  console.log(
    `seed ${of.seed}, ${of.workers} workers, ${of.tasks} tasks, faults times ${of.faults}: ${violation === undefined ? 'all invariants held' : 'FAILED'}`,
  )
  console.log(`  ${checks.size} invariants, ${count.toLocaleString('en')} checks, ${hours} simulated hours`)
  console.log(`  ${seconds} s, ${megabytes} MB`)
  console.log(`  ${JSON.stringify(figures)}`)
  console.log(`  ends: ${JSON.stringify(Object.fromEntries(ends))}`)
  console.log(`  most at a time: ${JSON.stringify(Object.fromEntries(most))} of ${JSON.stringify(limits)}`)
  return outcome
}

/** Returns the smallest simulation that was found to fail. */
async function shrink(of: Size): Promise<string> {
  for (const parts of [64, 16, 4, 2])
    for (let seed = of.seed; seed < of.seed + 3; seed++) {
      const smaller = {
        seed,
        faults: of.faults,
        workers: Math.max(4, Math.ceil(of.workers / parts)),
        tasks: Math.max(20, Math.ceil(of.tasks / parts)),
      }
      if (smaller.tasks >= of.tasks) continue
      const { violation } = await run(smaller)
      if (violation !== undefined)
        return `${violation}\n(--seed ${seed} --workers ${smaller.workers} --tasks ${smaller.tasks} --faults ${of.faults})`
    }
  return ''
}

const { violation } = await run(size)
if (violation !== undefined) {
  console.error(violation)
  console.error(await shrink(size))
  process.exitCode = 1
}
