/**
 * A fleet with everything that can go wrong, on a clock that a simulation moves. The loop of the worker is the
 * real one, and the queue is the model of the real one.
 */
import { MemoryFleet } from '../fleet-model/memory-fleet.ts'
import { DEFAULT_TIMES, PROTOCOL, type FleetLimits } from '../../src/fleet/port.ts'
import type { Job } from '../fleet-model/job.ts'
import { Launcher, type Task } from './launcher.ts'
import { Machine, type World } from './machine.ts'
import { Network } from './network.ts'
import { Oracle } from './oracle.ts'
import { Chance, ProcessClock, Time } from './sim-clock.ts'
import type { Invariant } from './verdict.ts'

export interface Size {
  readonly seed: number
  readonly workers: number
  readonly tasks: number
  /** How often things go wrong; 1 is usual. */
  readonly faults: number
}

export interface Outcome {
  /** What did not hold, with the history of the job. */
  readonly violation: string | undefined
  /** How often each invariant was checked. */
  readonly checks: ReadonlyMap<Invariant, number>
  readonly simulatedMs: number
  readonly figures: Oracle['figures']
  readonly ends: ReadonlyMap<string, number>
  /** The most jobs at a time, of all, of each provider, of each model. */
  readonly most: ReadonlyMap<string, number>
  readonly limits: FleetLimits
}

const SLOTS = 4
const LONGEST_MS = 24 * 3_600_000
const PROVIDERS = ['p0', 'p1', 'p2']

export async function simulate({ faults, seed, workers, tasks }: Size): Promise<Outcome> {
  const time = new Time()
  const chance = new Chance(seed)
  const limits = limitsFor(workers * SLOTS)
  const oracle = new Oracle(time, limits, DEFAULT_TIMES)
  const clock = new ProcessClock(time, () => true)
  const launchers = new Map<string, Launcher>()
  const fleet = new MemoryFleet(clock, DEFAULT_TIMES, limits, (before, now) => {
    oracle.changed(before, now)
    const cancelSoon = (probability: number): void => {
      if (chance.happens(probability))
        time.after(chance.between(0, 5000), () => launchers.get(now.owner)?.cancel(now.offer.id))
    }
    // A cancel in the short time between a claim and its prompt, and while a job waits for its worker.
    if (isStep(before, now, 'waiting', 'starting')) cancelSoon(0.05)
    if (isStep(before, now, 'prompted', 'lapsed')) cancelSoon(0.3)
  })
  const network = new Network(time, chance, faults)
  const { claims } = fleet
  const world: World = {
    time,
    chance,
    network,
    oracle,
    claims,
    crashRate: 0.002 * faults,
    overloads: new Map(),
  }
  const machines = Array.from({ length: workers }, (_, index) => {
    const machine = new Machine(world, {
      // Some machines have the name of another.
      name: index % 20 === 19 ? `w${index - 1}` : `w${index}`,
      identity: `disk${index}`,
      slots: SLOTS,
      labels: index % 4 === 0 ? ['gpu'] : [],
      protocol: index % 20 === 17 ? PROTOCOL - 1 : PROTOCOL,
      hearsOffers: index % 20 === 1,
    })
    time.after(chance.between(0, 5000), () => machine.start())
    return machine
  })
  const owners = Math.max(2, Math.round(tasks / 5000))
  for (let owner = 0; owner < owners; owner++) {
    const count = Math.floor((tasks * (owner + 1)) / owners) - Math.floor((tasks * owner) / owners)
    const own = Array.from({ length: count }, (_each, index) => taskOf(chance, index))
    const open = Math.ceil((2 * workers * SLOTS) / owners)
    const name = `o${owner}`
    launchers.set(name, new Launcher(world, name, fleet.launcher(name), own, open))
  }
  const isDone = (): boolean => [...launchers.values()].every((launcher) => launcher.isDone)
  trouble(world, machines, [...launchers.values()], faults)
  await time.run(() => oracle.verdict.violation !== undefined || isDone(), LONGEST_MS)
  oracle.finished()
  const { ends, figures, most, verdict } = oracle
  const { checks, violation } = verdict
  return { violation, checks, simulatedMs: time.now, figures, ends, most, limits }
}

function isStep(before: Job | undefined, now: Job, from: string, to: string): boolean {
  return before?.status.type === from && now.status.type === to
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
  const provider = chance.of(PROVIDERS)
  return {
    id: `t${index}.1`,
    provider,
    model: `${provider}/m${Math.floor(chance.next() * 2)}`,
    labels: chance.happens(0.1) ? ['gpu'] : [],
    ms: Math.min(1_800_000, 3000 + chance.around(100_000)),
    startFails: chance.happens(0.03) ? 0.8 : 0.01,
    cancelAfterMs: chance.happens(0.1) ? chance.around(chance.of([50, 150_000])) : Infinity,
  }
}

/** Lets everything go wrong, again and again. */
function trouble(
  world: World,
  machines: readonly Machine[],
  launchers: readonly Launcher[],
  faults: number,
): void {
  const { chance, network, overloads, time } = world
  const often = (meanMs: number, what: () => void): void => {
    const again = (): void => {
      time.after(chance.around(meanMs / faults), () => {
        what()
        again()
      })
    }
    again()
  }
  const whileFor = (): number =>
    chance.of([5000, chance.between(20_000, 60_000), chance.between(60_000, 400_000)])
  const cut = (cuttable: Machine | Launcher): void =>
    cuttable.partition(whileFor(), chance.of(['calls', 'answers', 'both'] as const))
  const perMachine = 1 / machines.length
  often(1_500_000 * perMachine, () => chance.of(machines).kill())
  often(1_500_000 * perMachine, () => cut(chance.of(machines)))
  often(2_500_000 * perMachine, () => chance.of(machines).drain())
  often(10_000_000 * perMachine, () => chance.of(machines).replaceDisk())
  // A second process of a worker, beside the first.
  often(5_000_000 * perMachine, () => chance.of(machines).start())
  often(900_000 / launchers.length, () => chance.of(launchers).restart(chance.around(60_000)))
  often(1_500_000 / launchers.length, () => cut(chance.of(launchers)))
  often(600_000, () => {
    network.isDatabaseUp = false
    time.after(chance.of([2000, 10_000, 60_000]), () => (network.isDatabaseUp = true))
  })
  for (const provider of PROVIDERS)
    often(300_000, () => overloads.set(provider, time.now + chance.between(10_000, 60_000)))
}
