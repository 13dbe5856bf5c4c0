/** The types that the watch of a command's output shares with the rest: `monitor/monitor.ts` is a bundle of its own. */
import type { Monitored } from '../../task/state.ts'
import type { Stream } from './logs.ts'

/** A search through the output of a command, in pieces. */
export interface OutputSearch {
  /** Whether there is nothing more to search for. */
  readonly isDone: boolean
  /** Whether the last search has left some output for the next one. */
  readonly isBehind?: boolean
  /** Whether each stream was searched up to its size here. */
  hasReached(sizes: Readonly<Record<Stream, number>>): boolean
  /** Searches new output, at most `maxBytes` of each stream, because the search blocks this process. */
  search(maxBytes: number): void
}

/** A notice of matching lines. */
export interface TakenMatches {
  readonly monitored: Monitored
  /** The text of the notice. */
  readonly lines: string
}

/** The matches of a command with `notifyEvery` so far. */
export interface MonitorView {
  /** How many lines have matched. */
  readonly matches: number
  /** How many notices of them the run has had. */
  readonly notices: number
  /** The last matching lines, shortened. */
  readonly lines: readonly string[]
}
