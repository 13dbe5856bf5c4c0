/**
 * Plays histories with new seeds until the time is over: `npm run fuzz [-- --minutes N]`, or one seed again:
 * `npm run fuzz -- --seed N`; with `--outside`, for a manager in another process than OpenCode. Prints each failure with its seed and its shrunk history, which then becomes a
 * case of `races/found.test.ts`. After a failure it continues, and exits with 1.
 */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { describeFailure, playHistories } from './races/histories/property.ts'

const HISTORIES_PER_SEED = 200

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    outside: { type: 'boolean', default: false },
  },
})

function numberAbove0(name: 'minutes' | 'seed'): number {
  const value = Number(values[name])
  if (value > 0) return value
  throw new Error(`--${name}: expected a number above 0, got "${values[name]}"`)
}

let played = 0
let failures = 0

async function play(seed: number): Promise<void> {
  const result = await playHistories(seed, HISTORIES_PER_SEED, values.outside ? 'outside' : 'inside')
  played += result.numRuns
  if (result.failed) failures += 1
  console.log(result.failed ? describeFailure(result) : `seed ${seed}: ${result.numRuns} histories passed`)
}

if (values.seed === undefined) {
  const end = Date.now() + numberAbove0('minutes') * 60_000
  while (Date.now() < end) await play(randomInt(1, 2 ** 31))
} else await play(numberAbove0('seed'))
console.log(`${played} histories played, ${failures} failed`)
process.exitCode = failures > 0 ? 1 : 0
