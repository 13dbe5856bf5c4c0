/** The charts beneath the rows: slots in use, and cost. */
import { area, curveStepAfter, line } from 'd3-shape'
import { formatCost } from '../../text/format.ts'
import { setAttributes, setText, svg } from './elements.ts'
import { costOverTime, slotsInUse, type Step } from './over-time.ts'
import type { Columns } from './row-view.ts'
import type { SessionTimeline } from '../session-timeline.ts'

const HEIGHT = 62
const TOP = 16
const PLOT_HEIGHT = HEIGHT - TOP - 6

interface Chart {
  readonly name: string
  readonly steps: readonly Step[]
  readonly limit?: number | undefined
  readonly highest: number
  readonly format: (value: number) => string
  readonly summary: string
}

type X = (at: number) => number

export class LowerCharts {
  readonly node = svg('svg', { class: 'beneath', role: 'img' })
  readonly #views: readonly ChartView[]

  constructor(timeline: SessionTimeline) {
    const { tasks, limits } = timeline
    const agents = tasks.filter(({ kind }) => kind === 'agent')
    const commands = tasks.filter(({ kind }) => kind === 'command')
    const charts = [
      ...(agents.length > 0 ? [slots("Agents' slots", slotsInUse(agents), limits?.total)] : []),
      ...(commands.length > 0 ? [slots("Commands' slots", slotsInUse(commands), limits?.commands)] : []),
      cost(costOverTime(timeline)),
    ]
    this.#views = charts.map((chart, index) => new ChartView(chart, index * HEIGHT))
    setAttributes(this.node, {
      'aria-label': charts.map(({ name, summary }) => `${name}: ${summary}`).join('. '),
    })
    this.node.append(...this.#views.map(({ node }) => node))
  }

  draw(x: X, columns: Pick<Columns, 'width' | 'left' | 'right'>): void {
    const height = this.#views.length * HEIGHT
    setAttributes(this.node, { width: columns.width, height, viewBox: `0 0 ${columns.width} ${height}` })
    for (const view of this.#views) view.draw(x, columns)
  }
}

function slots(name: string, steps: readonly Step[], limit?: number): Chart {
  const most = Math.max(0, ...steps.map(({ value }) => value))
  const summary = limit === undefined ? `at most ${most} in use` : `at most ${most} of ${limit} in use`
  return { name, steps, limit, highest: Math.max(1, most, limit ?? 0), format: String, summary }
}

function cost(steps: readonly Step[]): Chart {
  const total = steps.at(-1)?.value ?? 0
  return {
    name: 'Cost so far',
    steps,
    highest: total > 0 ? total : 1,
    format: formatCost,
    summary: `${formatCost(total)} in all`,
  }
}

class ChartView {
  readonly node: SVGGElement
  readonly #chart: Chart
  readonly #area = svg('path', { class: 'area' })
  readonly #outline = svg('path', { class: 'outline' })
  readonly #frame = svg('path', { class: 'line' })
  readonly #limit = svg('path', { class: 'limit' })
  readonly #limitText = svg('text', { class: 'tick' })
  readonly #highest = svg('text', { class: 'tick', 'text-anchor': 'end' })
  readonly #summary = svg('text', { class: 'tick' })

  constructor(chart: Chart, top: number) {
    this.#chart = chart
    const name = svg('text', { class: 'head', x: 8, y: TOP + 12 }, chart.name)
    this.node = svg(
      'g',
      { transform: `translate(0 ${top})` },
      this.#frame,
      this.#area,
      this.#outline,
      this.#limit,
      name,
      this.#highest,
      this.#limitText,
      this.#summary,
    )
  }

  draw(x: X, { left, right, width }: Pick<Columns, 'width' | 'left' | 'right'>): void {
    const { steps, highest, limit, format, summary } = this.#chart
    const y = (value: number): number => TOP + PLOT_HEIGHT * (1 - value / highest)
    const points = visible(steps, x, left, right)
    const areaOf = area(
      ([at]) => at,
      y(0),
      ([, value]) => y(value),
    ).curve(curveStepAfter)
    const lineOf = line(
      ([at]) => at,
      ([, value]) => y(value),
    ).curve(curveStepAfter)
    setAttributes(this.#area, { d: areaOf(points) ?? '' })
    setAttributes(this.#outline, { d: lineOf(points) ?? '' })
    setAttributes(this.#frame, { d: `M0 0.5H${width}M${left} ${y(0)}H${right}` })
    setAttributes(this.#highest, { x: left - 6, y: y(highest) + 4 })
    setText(this.#highest, format(highest))
    setAttributes(this.#limit, {
      d: limit === undefined ? '' : `M${left} ${y(limit).toFixed(1)}H${right}`,
    })
    setAttributes(this.#limitText, { x: right + 14, y: TOP + 4 })
    setText(this.#limitText, limit === undefined ? '' : `┄ limit ${limit}`)
    setAttributes(this.#summary, { x: right + 14, y: TOP + (limit === undefined ? 12 : 22) })
    setText(this.#summary, summary)
  }
}

/** Steps between the edges in pixels, one a pixel, with the values at both edges. */
function visible(steps: readonly Step[], x: X, left: number, right: number): [number, number][] {
  const points: [number, number][] = [[left, 0]]
  for (const { at, value } of steps) {
    const pixel = Math.max(left, Math.round(x(at) * 2) / 2)
    if (pixel > right) break
    const last = points.at(-1)
    if (last?.[0] === pixel) last[1] = value
    else points.push([pixel, value])
  }
  return [...points, [right, points.at(-1)?.[1] ?? 0]]
}
