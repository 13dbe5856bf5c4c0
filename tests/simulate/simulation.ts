/** A fleet with everything that can go wrong, on a clock that a simulation moves. The rules and the loop of the worker are the real ones. */
import { MemoryFleet } from '../../src/fleet/memory-fleet.ts'
import { DEFAULT_TIMES, type FleetLimits } from '../../src/fleet/port.ts'
import { countedAt } from '../../src/fleet/rules.ts'
import { Launcher, type Task } from './launcher.ts'
import { Machine, type World } from './machine.ts'
import { Network } from './network.ts'
import { Oracle } from './oracle.ts'
import { Chance, ProcessClock, Time } from './sim-clock.ts'

export interface Size {
  readonly seed: number
  readonly workers: number
  readonly tasks: number
}

export interface Outcome {
  /** What did not hold, with the history of the job. */
  readonly violation: string | undefined
  readonly simulatedMs: number
  readonly figures: Oracle['figures']
  readonly ends: ReadonlyMap<string, number>
  /** The most jobs at a time, of all, of each provider, of each model. */
  readonly most: ReadonlyMap<string, number>
  readonly limits: FleetLimits
}

const SLOTS = 4
const LONGEST_MS = 100 * 3_600_000

export async function simulate({ seed, workers, tasks }: Size): Promise<Outcome> {
  const time = new Time()
  const chance = new Chance(seed)
  const limits = limitsFor(workers * SLOTS)
  const oracle = new Oracle(time, limits, DEFAULT_TIMES.leaseMs)
  const clock = new ProcessClock(time, () => true)
  const fleet = new MemoryFleet(clock, DEFAULT_TIMES, limits, (before, now) => {
    const isCounted = (job: typeof before): number => Number(!!job && countedAt(job) !== undefined)
    oracle.counted(now.key, isCounted(now) - isCounted(before))
  })
  const network = new Network(time, chance)
  const world: World = { time, chance, network, oracle, claims: fleet.claims, crashRate: 0.002 }
  const machines = Array.from({ length: workers }, (_, index) => {
    // Some machines have the name of another.
    const name = index % 50 === 49 ? `w${index - 1}` : `w${index}`
    const machine = new Machine(world, name, `disk${index}`, SLOTS, index % 4 === 0 ? ['gpu'] : [])
    time.after(chance.between(0, 5000), () => machine.start())
    return machine
  })
  const owners = Math.max(2, Math.round(tasks / 5000))
  const launchers = Array.from({ length: owners }, (_, owner) => {
    const count = Math.floor((tasks * (owner + 1)) / owners) - Math.floor((tasks * owner) / owners)
    const own = Array.from({ length: count }, (_each, index) => taskOf(chance, index))
    return new Launcher(world, `o${owner}`, fleet.launcher(`o${owner}`), own)
  })
  const isDone = (): boolean => launchers.every((launcher) => launcher.isDone)
  trouble(world, machines, launchers)
  await time.run(() => oracle.violation !== undefined || isDone(), LONGEST_MS)
  if (!oracle.violation) {
    const [untold] = oracle.untold()
    if (untold !== undefined) oracle.failUntold(untold)
  }
  const { figures, ends, most, violation } = oracle
  return { violation, simulatedMs: time.now, figures, ends, most, limits }
}

function limitsFor(slots: number): FleetLimits {
  const share = (part: number): number => Math.max(2, Math.floor(slots * part))
  return {
    total: share(0.6),
    providers: { p0: share(0.3), p1: share(0.2) },
    models: { 'p0/m0': share(0.1), 'p2/m1': share(0.1) },
  }
}

function taskOf(chance: Chance, index: number): Task {
  const provider = `p${Math.floor(chance.next() * 3)}`
  return {
    id: `t${index}.1`,
    provider,
    model: `${provider}/m${Math.floor(chance.next() * 2)}`,
    labels: chance.happens(0.1) ? ['gpu'] : [],
    ms: Math.min(1_800_000, 3000 + chance.around(100_000)),
    cancelAfterMs: chance.happens(0.1) ? chance.around(150_000) : Infinity,
  }
}

/** Lets everything go wrong, again and again. */
function trouble(world: World, machines: readonly Machine[], launchers: readonly Launcher[]): void {
  const { chance, network, time } = world
  const often = (meanMs: number, what: () => void): void => {
    const again = (): void => {
      time.after(chance.around(meanMs), () => {
        what()
        again()
      })
    }
    again()
  }
  const perMachine = 1 / machines.length
  often(1_500_000 * perMachine, () => chance.of(machines).kill())
  often(2_500_000 * perMachine, () => {
    const [sends, receives] = chance.of([
      [false, false],
      [true, false],
      [false, true],
    ] as const)
    chance.of(machines).partition(chance.of([5000, 40_000, 300_000]), sends, receives)
  })
  often(5_000_000 * perMachine, () => chance.of(machines).drain())
  often(20_000_000 * perMachine, () => chance.of(machines).replaceDisk())
  // A second process of a worker, beside the first.
  often(10_000_000 * perMachine, () => chance.of(machines).start())
  often(900_000 / launchers.length, () => chance.of(launchers).restart(chance.around(60_000)))
  often(600_000, () => {
    network.isDatabaseUp = false
    time.after(chance.of([2000, 10_000, 60_000]), () => (network.isDatabaseUp = true))
  })
}
