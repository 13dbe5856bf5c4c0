/** The times above the rows, with the heads of the columns. */
import { axisTop } from 'd3-axis'
import type { ScaleTime } from 'd3-scale'
import { select } from 'd3-selection'
import { setAttributes, svg } from './elements.ts'
import type { Columns } from './row-view.ts'
import { tickOf } from './words.ts'

const HEIGHT = 30
/** Half the width of a label. */
const LABEL_ROOM = 24

export class TimeAxis {
  readonly node = svg('svg', { class: 'axis', 'aria-hidden': 'true' })

  draw(
    scale: ScaleTime<number, number>,
    { left, right, width, hasDuration }: Columns,
    ticks: readonly Date[],
  ): void {
    setAttributes(this.node, { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` })
    const heads = [
      { x: 8, anchor: 'start', text: 'Task' },
      { x: right + 14, anchor: 'start', text: 'End' },
      ...(hasDuration ? [{ x: width - 78, anchor: 'end', text: 'Time' }] : []),
      { x: width - 10, anchor: 'end', text: 'Cost' },
    ]
    const axis = select(this.node)
    axis
      .selectAll<SVGTextElement, (typeof heads)[number]>('text.head')
      .data(heads)
      .join('text')
      .attr('class', 'head')
      .attr('y', 19)
      .attr('x', ({ x }) => x)
      .attr('text-anchor', ({ anchor }) => anchor)
      .text(({ text }) => text)
    axis
      .selectAll<SVGGElement, number>('g.ticks')
      .data([0])
      .join('g')
      .attr('class', 'ticks')
      .attr('transform', `translate(0 ${HEIGHT - 1})`)
      .call(
        axisTop<Date>(scale.copy().domain([scale.invert(left), scale.invert(right)]))
          .tickValues([...ticks])
          // A label at the edge would touch the head of the next column.
          .tickFormat((at) =>
            scale(at) > right - LABEL_ROOM || scale(at) < left + LABEL_ROOM ? '' : tickOf(at),
          )
          .tickSizeOuter(0),
      )
  }
}
