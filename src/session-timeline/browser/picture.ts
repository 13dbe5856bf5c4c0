/**
 * The picture of a session: a row for each task over time, with slots and cost beneath. Only the visible rows have nodes, and a
 * pan or zoom changes attributes of those alone.
 */
import { scaleTime, type ScaleTime } from 'd3-scale'
import { select, type Selection } from 'd3-selection'
import { zoom, zoomIdentity, zoomTransform, type D3ZoomEvent, type ZoomBehavior } from 'd3-zoom'
import { LowerCharts } from './lower-charts.ts'
import { html, setAttributes, svg } from './elements.ts'
import { extentOf, SHORTEST_SHOWN_MS } from './extent.ts'
import type { Columns, Scene } from './row-view.ts'
import { heightOf, ROW_HEIGHT, rowAt, rowsOf, type Row } from './rows.ts'
import { ShownRows } from './shown-rows.ts'
import { slicesOf } from './paper.ts'
import { activityOf, type TaskDrawing } from './task-drawing.ts'
import { TimeAxis } from './time-axis.ts'
import { arrows, waitsOf, type Wait } from './waits.ts'
import type { SessionTimeline, TaskTimeline } from '../session-timeline.ts'

/** The width on paper; the print style scales it to the page. */
const PRINT_WIDTH = 900
const ZOOM_STEP = 1.6
const NEAR_PIXELS = 4
/** How far a key pans, as a share of the plot's width. */
const PAN_STEP = 0.15

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
  readonly #axis = new TimeAxis()
  readonly #svg = svg('svg', {
    class: 'rows',
    role: 'listbox',
    tabindex: 0,
    'aria-label': 'Tasks over time. Arrow keys move, Enter opens a task, plus, minus and 0 zoom.',
  })
  readonly #paper = html('div', { class: 'paper', 'aria-hidden': 'true' })
  readonly #scroller = html('div', { class: 'scroller' }, this.#svg, this.#paper)
  readonly #grid = svg('path', { class: 'grid' })
  readonly #shown = new ShownRows()
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
  #waits: readonly Wait[] = []
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
    this.#svg.append(
      this.#grid,
      this.#shown.node,
      this.#dependencies,
      this.#activeDependencies,
      this.#readLine,
    )
    this.node = html('div', { class: 'picture' }, this.#axis.node, this.#scroller, this.#lowerCharts.node)
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
      this.#shown.clear()
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
    this.#waits = waitsOf(this.#rows)
    this.#active = 0
    this.#shown.show(this.#rows)
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
    this.#axis.draw(this.#x, this.#columns, ticks)
    const { readAt, tasks } = this.#timeline
    const isUnfinished = tasks.some(({ runs }) => runs.some(({ to }) => to >= readAt))
    const readX = this.#x(readAt)
    const isReadShown = isUnfinished && readX >= left && readX <= right
    setAttributes(this.#readLine, { d: isReadShown ? `M${readX.toFixed(1)} 0V${height}` : '' })
    const active = this.#rows[this.#active]
    const activeID = active?.type === 'task' ? active.drawing.task.id : ''
    const ofActive = this.#waits.filter(({ ids }) => ids.includes(activeID))
    setAttributes(this.#dependencies, { d: arrows(this.#waits, plot) })
    setAttributes(this.#activeDependencies, { d: arrows(ofActive, plot) })
    this.#lowerCharts.draw(this.#x, { left, right, width })
    if (this.#isPrinted) {
      const views = this.#rows.map((row, index) => ({ row, node: this.#shown.nodeOf(index) }))
      const shared = [this.#grid, this.#dependencies, this.#readLine]
      this.#paper.replaceChildren(...slicesOf(views, width, shared))
    }
  }

  #drawRows(scene: Scene): void {
    const [first, last] = this.#visible()
    this.#shown.draw({ first, last, active: this.#active }, scene)
    setAttributes(this.#svg, { 'aria-activedescendant': `row-${this.#active}` })
  }

  /** Returns the indices of the first and last visible row. */
  #visible(): [number, number] {
    if (this.#isPrinted) return [0, this.#rows.length - 1]
    const { scrollTop, clientHeight } = this.#scroller
    return [rowAt(this.#rows, scrollTop), rowAt(this.#rows, scrollTop + clientHeight)]
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
