/** How much a piece of work leaves on the heap, which no busy machine changes. */
import { getHeapStatistics } from 'node:v8'

const CALLS = 10_000
const ROUNDS = 21

/**
 * The bytes that a call allocates, in the median of some rounds: the compiler adds to one now and then, and the collector
 * of garbage takes from one.
 */
export function bytesPerCall(work: () => void): number {
  const round = (): number => {
    const before = getHeapStatistics().used_heap_size
    for (let call = 0; call < CALLS; call += 1) work()
    return (getHeapStatistics().used_heap_size - before) / CALLS
  }
  // It is compiled first.
  for (let warmUp = 0; warmUp < ROUNDS; warmUp += 1) round()
  const rounds = Array.from({ length: ROUNDS }, round).toSorted((a, b) => a - b)
  return rounds[(ROUNDS - 1) / 2] ?? Number.NaN
}
