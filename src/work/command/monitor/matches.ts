/** Collects matching lines: their number, and the first and the last of them. */
import { brief } from '../../../text/sanitize.ts'

export interface Matches {
  readonly count: number
  readonly first: readonly string[]
  /** Without those in `first`. */
  readonly last: readonly string[]
}

const FIRST = 4
const LAST = 4
/** The part of a line that is stored, in characters, and the part that is shown. */
const STORED_LENGTH = 1000
const SHOWN_LENGTH = 200

export const NO_MATCHES: Matches = { count: 0, first: [], last: [] }

/** Returns the matches with one more line. */
export function withLine({ count, first, last }: Matches, line: string): Matches {
  const stored = line.slice(0, STORED_LENGTH)
  if (first.length < FIRST) return { count: count + 1, first: [...first, stored], last }
  return { count: count + 1, first, last: withNewest(last, line) }
}

/** Returns the matches of two periods, the earlier one first. */
export function joined(earlier: Matches, later: Matches): Matches {
  const count = earlier.count + later.count
  const lines = [...later.first, ...later.last]
  const room = FIRST - earlier.first.length
  const isWhole = earlier.last.length === 0
  const first = isWhole ? [...earlier.first, ...lines.slice(0, room)] : earlier.first
  const last = isWhole ? lines.slice(room) : [...earlier.last, ...lines]
  return { count, first, last: last.slice(-LAST) }
}

/** Returns the lines for a model, with how many are left out. */
export function linesText({ count, first, last }: Matches): string[] {
  const leftOut = count - first.length - last.length
  return [
    ...shortened(first),
    ...(leftOut > 0 ? [`[… ${leftOut} more matching ${leftOut === 1 ? 'line' : 'lines'} …]`] : []),
    ...shortened(last),
  ]
}

/** Returns the last lines with one more. */
export function withNewest(lines: readonly string[], line: string): readonly string[] {
  return [...lines.slice(1 - LAST), line.slice(0, STORED_LENGTH)]
}

/** Returns lines as they are shown. */
export function shortened(lines: readonly string[]): string[] {
  return lines.map((line) => brief(line, SHOWN_LENGTH))
}
