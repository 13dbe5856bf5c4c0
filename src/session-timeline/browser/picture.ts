/**
 * The picture of a session: a row for each task over time, with slots and cost beneath. Only the visible rows have nodes, and a
 * pan or zoom changes attributes of those alone.
 */
import { axisTop } from 'd3-axis'
import { scaleTime, type ScaleTime } from 'd3-scale'
import { select, type Selection } from 'd3-selection'
import { zoom, zoomIdentity, zoomTransform, type D3ZoomEvent, type ZoomBehavior } from 'd3-zoom'
import { completedBy, waitEndOf } from '../dependencies.ts'
import { LowerCharts } from './lower-charts.ts'
import { html, setAttributes, svg } from './elements.ts'
import { BAR_MIDDLE, RowView, type Columns, type Scene } from './row-view.ts'
import { heightOf, ROW_HEIGHT, rowAt, rowsOf, type Row } from './rows.ts'
import { slicesOf } from './paper.ts'
import { arrow } from './shapes.ts'
import { activityOf, type TaskDrawing } from './task-drawing.ts'
import { tickOf } from './words.ts'
import type { Interval, SessionTimeline, TaskTimeline } from '../session-timeline.ts'

const AXIS_HEIGHT = 30
/** The shortest stretch of time that a zoom shows. */
const SHORTEST_SHOWN_MS = 1000
/** The width on paper; the print style scales it to the page. */
const PRINT_WIDTH = 900
const ZOOM_STEP = 1.6
const NEAR_PIXELS = 4
/** Half the width of an axis' label. */
const LABEL_ROOM = 24
/** How far a key pans, as a share of the plot's width. */
const PAN_STEP = 0.15

/** A task that waited for another, with the rows of both. */
interface DependencyEnds {
  readonly ids: readonly string[]
  readonly endedAt: number
  readonly startedAt: number
  readonly endedY: number
  readonly startedY: number
}

export interface Pointed {
  readonly row: Row
  /** The time at the pointer; absent beside the plot, and for the keyboard. */
  readonly at?: number
  /** The time that a few pixels span. */
  readonly nearMs: number
  readonly x: number
  readonly y: number
}

interface Handlers {
  readonly onOpen: (task: TaskTimeline) => void
  /** Called without a row when there is none at the pointer. */
  readonly onPoint: (pointed?: Pointed) => void
}

export class Picture {
  readonly node: HTMLElement
  readonly #timeline: SessionTimeline
  readonly #handlers: Handlers
  readonly #axis = svg('svg', { class: 'axis', 'aria-hidden': 'true' })
  readonly #svg = svg('svg', {
    class: 'rows',
    role: 'listbox',
    tabindex: 0,
    'aria-label': 'Tasks over time. Arrow keys move, Enter opens a task, plus, minus and 0 zoom.',
  })
  readonly #paper = html('div', { class: 'paper', 'aria-hidden': 'true' })
  readonly #scroller = html('div', { class: 'scroller' }, this.#svg, this.#paper)
  readonly #grid = svg('path', { class: 'grid' })
  readonly #rowsNode = svg('g', { role: 'presentation' })
  readonly #dependencies = svg('path', { class: 'dependencies' })
  readonly #activeDependencies = svg('path', { class: 'dependencies active' })
  readonly #readLine = svg('path', { class: 'read-line' })
  readonly #lowerCharts: LowerCharts
  readonly #base: ScaleTime<number, number>
  #x: ScaleTime<number, number>
  readonly #zoom: ZoomBehavior<SVGSVGElement, unknown>
  readonly #selection: Selection<SVGSVGElement, unknown, null, undefined>
  readonly #session: Scene['session']
  readonly #highestCost: number
  #columns: Columns = { width: 0, left: 0, right: 0, hasDuration: true }
  #rows: Row[] = []
  /** The position of each row, from 1, without the headings of groups. */
  #positions: ReadonlyMap<Row, number> = new Map()
  #dependencyEnds: readonly DependencyEnds[] = []
  readonly #views = new Map<number, RowView>()
  #spare: RowView[] = []
  #active = 0
  #isDrawQueued = false
  #isPrinted = false

  constructor(timeline: SessionTimeline, drawings: readonly TaskDrawing[], handlers: Handlers) {
    this.#timeline = timeline
    this.#handlers = handlers
    const cost = timeline.turns.reduce((sum, turn) => sum + turn.cost, 0)
    this.#session = { ...activityOf(timeline.turns), turns: timeline.turns.length, cost }
    this.#highestCost = Math.max(0, ...drawings.map(({ task }) => task.usage.cost))
    const { from, to } = extentOf(timeline, drawings)
    this.#base = scaleTime().domain([from, to])
    this.#x = this.#base.copy()
    this.#lowerCharts = new LowerCharts(timeline)
    this.#svg.append(this.#grid, this.#rowsNode, this.#dependencies, this.#activeDependencies, this.#readLine)
    this.node = html('div', { class: 'picture' }, this.#axis, this.#scroller, this.#lowerCharts.node)
    this.#selection = select(this.#svg)
    this.#zoom = zoom<SVGSVGElement, unknown>()
      .scaleExtent([1, Math.max(1, (to - from) / SHORTEST_SHOWN_MS)])
      .clickDistance(4)
      .filter((event: MouseEvent) =>
        event.type === 'wheel' ? event.ctrlKey || event.metaKey : !event.button && !event.ctrlKey,
      )
      .on('zoom', (event: D3ZoomEvent<SVGSVGElement, unknown>) => {
        this.#onZoom(event)
      })
    this.#selection.call(this.#zoom).on('dblclick.zoom', null)
    this.#listen()
  }

  #listen(): void {
    this.#scroller.addEventListener('scroll', () => {
      this.#queueDraw()
    })
    this.#svg.addEventListener('keydown', (event) => {
      if (this.#onKey(event)) event.preventDefault()
    })
    this.#svg.addEventListener('click', (event) => {
      this.#activate(this.#indexAt(event))
      this.#open()
    })
    this.#svg.addEventListener('pointermove', (event) => {
      const row = this.#rows[this.#indexAt(event)]
      const x = event.clientX - this.#svg.getBoundingClientRect().left
      const isInPlot = x >= this.#columns.left && x <= this.#columns.right
      const at = isInPlot ? this.#x.invert(x).getTime() : undefined
      if (!row || row.type === 'group') this.#handlers.onPoint()
      else
        this.#handlers.onPoint({
          row,
          nearMs: this.#nearMs(),
          x: event.clientX,
          y: event.clientY,
          ...(at !== undefined && { at }),
        })
    })
    this.#svg.addEventListener('pointerleave', () => {
      this.#handlers.onPoint()
    })
    this.#svg.addEventListener('blur', () => {
      this.#handlers.onPoint()
    })
    // A horizontal wheel pans the plot; a vertical one scrolls the page.
    this.#svg.addEventListener(
      'wheel',
      (event) => {
        if (event.ctrlKey || event.metaKey || Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return
        event.preventDefault()
        this.#pan(-event.deltaX)
      },
      { passive: false },
    )
    new ResizeObserver(() => {
      this.#measure()
    }).observe(this.#scroller)
    const paper = matchMedia('print')
    let onScreen = this.#x.domain()
    const onPrint = (isPrinted: boolean): void => {
      if (this.#isPrinted === isPrinted) return
      this.#isPrinted = isPrinted
      // Paper shows the whole time, because a reader of paper cannot zoom out.
      const shown = this.#x.domain()
      this.#x.domain(isPrinted ? this.#base.domain() : onScreen)
      onScreen = shown
      this.#paper.replaceChildren()
      for (const index of this.#views.keys()) this.#release(index)
      this.#measure()
    }
    paper.addEventListener('change', ({ matches }) => {
      onPrint(matches)
    })
    addEventListener('beforeprint', () => {
      onPrint(true)
    })
    addEventListener('afterprint', () => {
      onPrint(false)
    })
  }

  show(drawings: readonly TaskDrawing[]): void {
    this.#rows = rowsOf(drawings)
    this.#positions = new Map(
      this.#rows.filter(({ type }) => type !== 'group').map((row, index) => [row, index + 1]),
    )
    this.#dependencyEnds = dependencyEndsOf(this.#rows)
    this.#active = 0
    for (const index of this.#views.keys()) this.#release(index)
    this.#scroller.scrollTop = 0
    this.#measure()
  }

  zoomBy(steps: number): void {
    this.#zoom.scaleBy(this.#selection, ZOOM_STEP ** steps)
  }

  zoomOut(): void {
    this.#zoom.transform(this.#selection, zoomIdentity)
  }

  focus(): void {
    this.#svg.focus()
  }

  #pan(pixels: number): void {
    this.#zoom.translateBy(this.#selection, pixels / zoomTransform(this.#svg).k, 0)
  }

  /** Fits the columns to the width, and draws at once. The shown stretch of time stays. */
  #measure(): void {
    const width = this.#isPrinted ? PRINT_WIDTH : this.#scroller.clientWidth
    if (width === 0) return
    const isNarrow = width < 900
    const left = Math.round(Math.min(260, width * (isNarrow ? 0.24 : 0.21)))
    const right = width - (isNarrow ? 164 : 232)
    const height = heightOf(this.#rows)
    const [from, to] = this.#x.domain().map(Number) as [number, number]
    this.#columns = { width, left, right, hasDuration: !isNarrow }
    this.#base.range([left, right])
    setAttributes(this.#svg, { width, height, viewBox: `0 0 ${width} ${height}` })
    setAttributes(this.#axis, { width, height: AXIS_HEIGHT, viewBox: `0 0 ${width} ${AXIS_HEIGHT}` })
    const extent: [[number, number], [number, number]] = [
      [left, 0],
      [right, height],
    ]
    this.#zoom.extent(extent).translateExtent(extent)
    const [first, last] = this.#base.domain().map(Number) as [number, number]
    const scale = (last - first) / (to - from)
    this.#zoom.transform(
      this.#selection,
      zoomIdentity.translate(left - scale * this.#base(from), 0).scale(scale),
    )
    this.#draw()
  }

  #onZoom({ transform, sourceEvent }: D3ZoomEvent<SVGSVGElement, unknown>): void {
    this.#x = transform.rescaleX(this.#base)
    // The details were about the time that was under the pointer before.
    this.#handlers.onPoint()
    // A drag scrolls as well.
    if (sourceEvent instanceof MouseEvent && sourceEvent.type === 'mousemove')
      this.#scroller.scrollTop -= sourceEvent.movementY
    this.#queueDraw()
  }

  #queueDraw(): void {
    if (this.#isDrawQueued) return
    this.#isDrawQueued = true
    requestAnimationFrame(() => {
      this.#draw()
    })
  }

  #draw(): void {
    this.#isDrawQueued = false
    const { left, right, width } = this.#columns
    const plot = { x: (at: number): number => this.#x(at), left, right }
    const scene = { plot, columns: this.#columns, session: this.#session, highestCost: this.#highestCost }
    this.#drawRows(scene)
    const ticks = this.#x.ticks(Math.max(2, (right - left) / 90))
    const height = heightOf(this.#rows)
    setAttributes(this.#grid, { d: ticks.map((tick) => `M${this.#x(tick).toFixed(1)} 0V${height}`).join('') })
    this.#drawAxis(ticks)
    const { readAt, tasks } = this.#timeline
    const isUnfinished = tasks.some(({ runs }) => runs.some(({ to }) => to >= readAt))
    const readX = this.#x(readAt)
    const isReadShown = isUnfinished && readX >= left && readX <= right
    setAttributes(this.#readLine, { d: isReadShown ? `M${readX.toFixed(1)} 0V${height}` : '' })
    const active = this.#rows[this.#active]
    setAttributes(this.#dependencies, { d: this.#arrows() })
    setAttributes(this.#activeDependencies, {
      d: active?.type === 'task' ? this.#arrows(active.drawing.task.id) : '',
    })
    this.#lowerCharts.draw(this.#x, { left, right, width })
    if (this.#isPrinted) {
      const views = this.#rows.map((row, index) => ({ row, node: this.#views.get(index)?.node }))
      const shared = [this.#grid, this.#dependencies, this.#readLine]
      this.#paper.replaceChildren(...slicesOf(views, width, shared))
    }
  }

  #drawRows(scene: Scene): void {
    const [first, last] = this.#visible()
    for (const index of this.#views.keys())
      if ((index < first || index > last) && index !== this.#active) this.#release(index)
    for (let index = first; index <= last; index += 1) this.#drawRow(index, scene)
    if (this.#active < first || this.#active > last) this.#drawRow(this.#active, scene)
    setAttributes(this.#svg, { 'aria-activedescendant': `row-${this.#active}` })
  }

  #drawRow(index: number, scene: Scene): void {
    const row = this.#rows[index]
    if (!row) return
    let view = this.#views.get(index)
    if (!view) {
      view = this.#spare.pop() ?? new RowView()
      this.#views.set(index, view)
      this.#rowsNode.append(view.node)
    }
    view.draw(row, scene)
    const position = this.#positions.get(row)
    const isActive = index === this.#active
    setAttributes(view.node, {
      id: `row-${index}`,
      'aria-selected': position && String(isActive),
      'aria-setsize': position && this.#positions.size,
      'aria-posinset': position,
      'data-active': isActive ? '' : undefined,
    })
  }

  #release(index: number): void {
    const view = this.#views.get(index)
    if (!view) return
    view.node.remove()
    this.#views.delete(index)
    this.#spare = [...this.#spare, view].slice(-50)
  }

  /** Returns the indices of the first and last visible row. */
  #visible(): [number, number] {
    if (this.#isPrinted) return [0, this.#rows.length - 1]
    const { scrollTop, clientHeight } = this.#scroller
    return [rowAt(this.#rows, scrollTop), rowAt(this.#rows, scrollTop + clientHeight)]
  }

  #drawAxis(ticks: readonly Date[]): void {
    const { left, right, width, hasDuration } = this.#columns
    const heads = [
      { x: 8, anchor: 'start', text: 'Task' },
      { x: right + 14, anchor: 'start', text: 'End' },
      ...(hasDuration ? [{ x: width - 78, anchor: 'end', text: 'Time' }] : []),
      { x: width - 10, anchor: 'end', text: 'Cost' },
    ]
    const axis = select(this.#axis)
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
      .attr('transform', `translate(0 ${AXIS_HEIGHT - 1})`)
      .call(
        axisTop<Date>(this.#x.copy().domain([this.#x.invert(left), this.#x.invert(right)]))
          .tickValues([...ticks])
          // A label at the edge would touch the head of the next column.
          .tickFormat((at) =>
            this.#x(at) > right - LABEL_ROOM || this.#x(at) < left + LABEL_ROOM ? '' : tickOf(at),
          )
          .tickSizeOuter(0),
      )
  }

  /** Arrows to tasks from those for which they waited: of one task, or of all. */
  #arrows(ofTask?: string): string {
    const { left, right } = this.#columns
    return this.#dependencyEnds
      .filter(({ ids }) => ofTask === undefined || ids.includes(ofTask))
      .map(({ endedAt, startedAt, endedY, startedY }) => {
        const [x0, x1] = [this.#x(endedAt), this.#x(startedAt)]
        return x0 < left || x0 > right || x1 > right ? '' : arrow(x0, endedY, x1, startedY)
      })
      .join('')
  }

  #indexAt(event: MouseEvent): number {
    return rowAt(this.#rows, event.clientY - this.#svg.getBoundingClientRect().top)
  }

  #open(): void {
    const row = this.#rows[this.#active]
    if (row?.type === 'task') this.#handlers.onOpen(row.drawing.task)
  }

  #activate(index: number): void {
    const row = this.#rows[index]
    if (!row || row.type === 'group') return
    this.#active = index
    const { scrollTop, clientHeight } = this.#scroller
    if (row.top < scrollTop) this.#scroller.scrollTop = row.top
    else if (row.top + row.height > scrollTop + clientHeight)
      this.#scroller.scrollTop = row.top + row.height - clientHeight
    this.#draw()
  }

  /** Moves by rows, without the headings of groups, and shows the details of the reached one. */
  #move(rows: number): void {
    const direction = Math.sign(rows)
    let index = Math.min(Math.max(this.#active + rows, 0), this.#rows.length - 1)
    if (this.#rows[index]?.type === 'group') index += direction
    this.#activate(index)
    const row = this.#rows[this.#active]
    if (!row) return
    const box = this.#svg.getBoundingClientRect()
    this.#handlers.onPoint({
      row,
      nearMs: this.#nearMs(),
      x: box.left + this.#columns.left + 16,
      y: box.top + row.top + row.height,
    })
  }

  #nearMs(): number {
    const { left } = this.#columns
    return this.#x.invert(left + NEAR_PIXELS).getTime() - this.#x.invert(left).getTime()
  }

  /** Handles a key. Returns whether it has a meaning here. */
  #onKey({ key, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
    if (ctrlKey || metaKey || altKey) return false
    const panned = (this.#columns.right - this.#columns.left) * PAN_STEP
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / ROW_HEIGHT) - 1)
    const actions: Readonly<Record<string, () => void>> = {
      ArrowDown: () => this.#move(1),
      ArrowUp: () => this.#move(-1),
      PageDown: () => this.#move(page),
      PageUp: () => this.#move(-page),
      Home: () => this.#move(-this.#rows.length),
      End: () => this.#move(this.#rows.length),
      ArrowLeft: () => this.#pan(panned),
      ArrowRight: () => this.#pan(-panned),
      Enter: () => this.#open(),
      ' ': () => this.#open(),
      Escape: () => this.#handlers.onPoint(),
    }
    actions[key]?.()
    return key in actions
  }
}

function dependencyEndsOf(rows: readonly Row[]): DependencyEnds[] {
  const shown = rows.filter((row) => row.type === 'task')
  const byID = new Map(shown.map((row) => [row.drawing.task.id, row]))
  return shown.flatMap(({ drawing: { task }, top }) => {
    const startedAt = waitEndOf(task)
    if (startedAt === undefined) return []
    return (task.after ?? []).flatMap((id) => {
      const first = byID.get(id)
      if (!first) return []
      return {
        ids: [id, task.id],
        // The other task may have started another run since.
        endedAt: completedBy(first.drawing.task, startedAt) ?? Math.min(first.drawing.to, startedAt),
        startedAt,
        endedY: first.top + BAR_MIDDLE,
        startedY: top + BAR_MIDDLE,
      }
    })
  })
}

/** From the first to the last time; the time of reading, if something has not ended by then. */
function extentOf({ turns, readAt }: SessionTimeline, drawings: readonly TaskDrawing[]): Interval {
  let [from, to] = [Infinity, -Infinity]
  const times = [
    ...turns.flatMap((turn) => [turn.from, turn.to]),
    ...drawings.flatMap(({ from: start, to: end, task }) => [start, end, ...task.marks.map(({ at }) => at)]),
  ]
  for (const at of times) {
    from = Math.min(from, at)
    to = Math.max(to, at)
  }
  if (from > to) [from, to] = [readAt - SHORTEST_SHOWN_MS, readAt]
  const room = Math.max((to - from) * 0.01, SHORTEST_SHOWN_MS / 2)
  return { from: from - room, to: to + room }
}
