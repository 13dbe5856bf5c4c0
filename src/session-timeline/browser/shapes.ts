/** Makes the path data of a row. One path has all shapes of a kind, so that a row has few nodes however much happened. */
import type { Interval, MarkType } from '../session-timeline.ts'
import type { EndType } from './words.ts'

/** The shown stretch of time: `left` to `right` in pixels. */
export interface Plot {
  readonly x: (at: number) => number
  readonly left: number
  readonly right: number
}

/** Below this, gaps are not visible, and bars are made wider. */
const PIXEL = 1

/** Returns rectangles for intervals in the order of their starts. Intervals less than a pixel apart become one. */
export function bars(intervals: readonly Interval[], plot: Plot, y: number, height: number): string {
  let path = ''
  let start = Number.NaN
  let end = Number.NaN
  const close = (): void => {
    if (!Number.isNaN(start))
      path += `M${start.toFixed(1)} ${y}H${Math.max(end, start + PIXEL).toFixed(1)}v${height}H${start.toFixed(1)}Z`
  }
  for (const { from, to } of intervals) {
    const [x0, x1] = [plot.x(from), plot.x(to)]
    if (x1 < plot.left || x0 > plot.right) continue
    const clipped = Math.min(x1, plot.right)
    if (x0 - Math.max(end, start + PIXEL) < PIXEL / 2) end = Math.max(end, clipped)
    else {
      close()
      start = Math.max(x0, plot.left)
      end = clipped
    }
  }
  close()
  return path
}

export const MARK_Y = 6

const MARK_SHAPES: Readonly<Record<MarkType, (x: number, y: number) => string>> = {
  steered: (x, y) => `M${x - 4} ${y - 4}h8l-4 7.5Z`,
  continued: (x, y) => `M${x - 3} ${y - 4}l7 4l-7 4Z`,
  matched: (x, y) => `M${x} ${y - 4.5}l4 4.5l-4 4.5l-4-4.5Z`,
  noticed: (x, y) => `M${x - 3.5} ${y}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z`,
  read: (x, y) => `M${x - 3.5} ${y}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z`,
}

export function marks(type: MarkType, times: readonly number[], plot: Plot, y = MARK_Y): string {
  return times
    .map((at) => round(plot.x(at)))
    .filter((x, index, all) => x >= plot.left && x <= plot.right && x !== all[index - 1])
    .map((x) => MARK_SHAPES[type](x, y))
    .join('')
}

/** Crosses at the ends of failed tool calls. */
export function crosses(intervals: readonly Interval[], plot: Plot, y: number): string {
  return intervals
    .map(({ to }) => round(plot.x(to)))
    .filter((x, index, all) => x >= plot.left && x <= plot.right && x !== all[index - 1])
    .map((x) => `M${x - 2.5} ${y - 2.5}l5 5m0-5l-5 5`)
    .join('')
}

/** The shapes at the end of a run, from `y` down. */
const END_SHAPES: Readonly<Record<EndType, (x: number, y: number) => string>> = {
  done: (x, y) => `M${x} ${y}v17`,
  error: (x, y) => `M${x - 4} ${y + 4.5}l8 8m0-8l-8 8`,
  cancelled: (x, y) => `M${x - 3.5} ${y + 5}h7v7h-7Z`,
  unfinished: (x, y) => `M${x - 2} ${y + 3.5}l5 5l-5 5`,
}

export function endShape(type: EndType, at: number, plot: Plot, y: number): string {
  const x = round(plot.x(at))
  return x >= plot.left && x <= plot.right ? END_SHAPES[type](x, y) : ''
}

/** Returns a mark at the edge for a task that lies entirely outside of the shown stretch of time. */
export function beyond({ from, to }: Interval, { x, left, right }: Plot, y: number): string {
  if (x(to) < left) return `M${left + 7} ${y - 4}l-4 4l4 4`
  return x(from) > right ? `M${right - 7} ${y - 4}l4 4l-4 4` : ''
}

/** An arrow from the end of a task to where another, which waited for it, starts. */
export function arrow(fromX: number, fromY: number, toX: number, toY: number): string {
  const [x0, x1] = [round(fromX), round(Math.max(fromX, toX))]
  const down = Math.sign(toY - fromY)
  return `M${x0} ${fromY}H${x1}V${toY - down * 9}m-3 ${-down * 5}l3 ${down * 5}l3 ${-down * 5}`
}

function round(x: number): number {
  return Math.round(x * 10) / 10
}
