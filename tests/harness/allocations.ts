/** Measures the heap that a piece of work allocates, which does not depend on the machine's load. */
import { getHeapStatistics } from 'node:v8'

const CALLS = 10_000
const ROUNDS = 21

/**
 * Returns the bytes that a call allocates: the median of some rounds, because the compiler adds to some of
 * them and the garbage collector takes from others.
 */
export function bytesPerCall(work: () => void): number {
  const round = (): number => {
    const before = getHeapStatistics().used_heap_size
    for (let call = 0; call < CALLS; call += 1) work()
    return (getHeapStatistics().used_heap_size - before) / CALLS
  }
  // Let the compiler finish first.
  for (let warmUp = 0; warmUp < ROUNDS; warmUp += 1) round()
  const rounds = Array.from({ length: ROUNDS }, round).toSorted((a, b) => a - b)
  return rounds[(ROUNDS - 1) / 2] ?? Number.NaN
}
