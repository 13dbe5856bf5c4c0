/**
 * Plays histories with new seeds until the time is over: `npm run fuzz [-- --minutes N]`, or one seed again:
 * `npm run fuzz -- --seed N`; with `--outside`, for a manager in another process than OpenCode; with `--worktrees`, those of
 * worktrees on real git; `--runs N` histories of a seed. Prints each failure with its seed and its shrunk history, which then becomes a
 * case of `races/found.test.ts`. After a failure it continues, and exits with 1.
 */
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const HISTORIES_PER_SEED = 1000
/** On real git, each takes two thirds of a second. */
const WORKTREE_HISTORIES_PER_SEED = 50

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    runs: { type: 'string' },
    outside: { type: 'boolean', default: false },
    worktrees: { type: 'boolean', default: false },
  },
})

function numberAbove0(name: 'minutes' | 'runs' | 'seed', otherwise?: number): number {
  const value = Number(values[name] ?? otherwise)
  if (value > 0) return value
  throw new Error(`--${name}: expected a number above 0, got "${values[name]}"`)
}

let played = 0
let failures = 0

/** Plays them by Vitest, which isolates git from the developer's configuration, and imports lazy modules at once. */
function play(seed: number): void {
  const where = values.outside ? 'outside' : 'inside'
  const runs = numberAbove0('runs', values.worktrees ? WORKTREE_HISTORIES_PER_SEED : HISTORIES_PER_SEED)
  const args = values.worktrees
    ? ['--project', 'worktree', 'tests/worktree/histories.test.ts']
    : ['--project', 'races', 'tests/races/histories.test.ts', '-t', `histories ${where}`]
  const env = {
    ...process.env,
    ...(values.worktrees
      ? { WORKTREE_HISTORIES: String(runs), WORKTREE_SEED: String(seed) }
      : { HISTORIES: String(runs), HISTORIES_SEED: String(seed) }),
  }
  const vitest = fileURLToPath(new URL('../node_modules/.bin/vitest', import.meta.url))
  const { status, stdout, stderr } = spawnSync(vitest, ['run', ...args, '--testTimeout', '0'], {
    env,
    encoding: 'utf8',
  })
  played += runs
  if (status !== 0) failures += 1
  console.log(status === 0 ? `seed ${seed}: ${runs} histories passed` : `seed ${seed}:\n${stdout}${stderr}`)
}

if (values.seed === undefined) {
  const end = Date.now() + numberAbove0('minutes') * 60_000
  while (Date.now() < end) play(randomInt(1, 2 ** 31))
} else play(numberAbove0('seed'))
console.log(`${played} histories played, ${failures} failed`)
process.exitCode = failures > 0 ? 1 : 0
