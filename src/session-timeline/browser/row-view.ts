/** The nodes of a row of the picture, which are reused for another row when this one is scrolled away. */
import { counted, formatCost, formatDuration } from '../../text/format.ts'
import { svg, setAttributes, setText } from './elements.ts'
import { fit } from './fit-label.ts'
import { bars, beyond, crosses, endShape, marks, type Plot } from './shapes.ts'
import { TOOL_TYPES, type Activity, type TaskDrawing } from './task-drawing.ts'
import { END_SIGNS, endTypeOf, endWord, MARK_WORDS, PHASE_WORDS } from './words.ts'
import type { Row } from './rows.ts'
import type { MarkType, PhaseType } from '../session-timeline.ts'

/** The width of a picture and its columns. */
export interface Columns {
  readonly width: number
  /** Where the plot begins and ends. */
  readonly left: number
  readonly right: number
  readonly hasDuration: boolean
}

/** The session's own turns. */
export interface SessionDrawing extends Activity {
  readonly turns: number
  readonly cost: number
}

export interface Scene {
  readonly plot: Plot
  readonly columns: Columns
  readonly session: SessionDrawing
  readonly highestCost: number
}

/** The distance of a bar from the top of its row. */
const BAR_TOP = 11
const BAR_HEIGHT = 17
export const BAR_MIDDLE = BAR_TOP + BAR_HEIGHT / 2
const MODEL_HEIGHT = 7
const TOOL_TOP = 19
/** The position and height of the ticks of each type of tool, so that they differ without colour. */
const TICKS = { read: [5, 4], edit: [0, 9], shell: [0, 4], other: [3.5, 2] } as const

const PHASE_TYPES = Object.keys(PHASE_WORDS) as PhaseType[]
const MARK_TYPES = Object.keys(MARK_WORDS) as MarkType[]
const LABEL_LEFT = 16
const COST_WIDTH = 56

export class RowView {
  readonly node = svg('g')
  readonly #back = svg('rect', { class: 'back', x: 0, y: 0 })
  readonly #label = svg('text', { class: 'label', x: LABEL_LEFT, y: 22 })
  readonly #end = svg('text', { class: 'end', y: 22 })
  readonly #duration = svg('text', { class: 'number', y: 22, 'text-anchor': 'end' })
  readonly #cost = svg('text', { class: 'number', y: 22, 'text-anchor': 'end' })
  readonly #costBar = svg('rect', { class: 'cost-bar', y: 27, height: 2 })
  readonly #line = svg('path', { class: 'line' })
  readonly #paths = new Map<string, SVGPathElement>()

  constructor() {
    const phases = PHASE_TYPES.map((type) => this.#path(`phase ${type}`))
    const tools = TOOL_TYPES.map((type) => this.#path(`tool ${type}`))
    const markPaths = MARK_TYPES.map((type) => this.#path(`mark ${type}`))
    this.node.append(
      this.#back,
      this.#line,
      ...phases,
      this.#path('model'),
      ...tools,
      this.#path('failed-tool'),
      this.#path('end-shape'),
      this.#path('beyond'),
      ...markPaths,
      // Blanks are not drawn: they separate the words for a screen reader.
      ...[this.#label, this.#end, this.#duration, this.#cost].flatMap((text) => [text, ' ']),
      this.#costBar,
    )
  }

  #path(name: string): SVGPathElement {
    const path = svg('path', { class: name })
    this.#paths.set(name, path)
    return path
  }

  #shape(name: string, d: string): void {
    const path = this.#paths.get(name)
    if (path) setAttributes(path, { d })
  }

  draw(row: Row, scene: Scene): void {
    const { columns } = scene
    setAttributes(this.node, { transform: `translate(0 ${row.top})` })
    setAttributes(this.#back, { width: columns.width, height: row.height })
    setAttributes(this.#line, { d: `M0 ${row.height - 0.5}H${columns.width}` })
    setAttributes(this.#end, { x: columns.right + 14 })
    setAttributes(this.#duration, { x: columns.width - COST_WIDTH - 22 })
    setAttributes(this.#cost, { x: columns.width - 10 })
    if (row.type === 'group') this.#drawGroup(row.name, columns)
    else if (row.type === 'session') this.#drawSession(scene)
    else this.#drawTask(row.drawing, scene)
  }

  #drawGroup(name: string, { left }: Columns): void {
    setAttributes(this.node, { class: 'row group', role: undefined })
    setAttributes(this.#label, { x: 8, y: 18 })
    setText(this.#label, fit(name, left - 16, 12))
    for (const text of [this.#end, this.#duration, this.#cost]) setText(text, '')
    setAttributes(this.#costBar, { width: 0 })
    for (const path of this.#paths.values()) setAttributes(path, { d: '' })
  }

  #drawSession({ session, plot, columns, highestCost }: Scene): void {
    setAttributes(this.node, {
      class: 'row session',
      role: 'option',
      'aria-hidden': undefined,
    })
    setAttributes(this.#label, { x: LABEL_LEFT, y: 22 })
    setText(this.#label, fit('The session itself', columns.left - LABEL_LEFT - 8))
    setText(this.#end, counted(session.turns, 'turn'))
    setText(this.#duration, '')
    for (const type of PHASE_TYPES) this.#shape(`phase ${type}`, '')
    for (const type of MARK_TYPES) this.#shape(`mark ${type}`, '')
    this.#shape('end-shape', '')
    this.#shape('beyond', '')
    this.#drawActivity(session, plot)
    this.#drawCost(session.cost, highestCost, columns)
    this.#name([])
  }

  #drawTask(drawing: TaskDrawing, { plot, columns, highestCost }: Scene): void {
    const { task, phases } = drawing
    const type = endTypeOf(task)
    setAttributes(this.node, {
      class: `row task ${task.kind} ${type}`,
      role: 'option',
      'aria-hidden': undefined,
    })
    setAttributes(this.#label, { x: LABEL_LEFT, y: 22 })
    setText(this.#label, fit(task.description || task.id, columns.left - LABEL_LEFT - 8))
    setText(this.#end, fit(`${END_SIGNS[type]} ${endWord(task)}`, columns.hasDuration ? 78 : 80))
    setText(this.#duration, columns.hasDuration ? formatDuration(drawing.to - drawing.from) : '')
    for (const phase of PHASE_TYPES) {
      const [top, height] = phase === 'queued' ? [BAR_TOP + 6, 5] : [BAR_TOP, BAR_HEIGHT]
      this.#shape(`phase ${phase}`, bars(phases[phase], plot, top, height))
    }
    for (const mark of MARK_TYPES) this.#shape(`mark ${mark}`, marks(mark, drawing.marks[mark], plot))
    const ends = task.runs.map(
      ({ status, to }) => status && endShape(endTypeOf({ status }), to, plot, BAR_TOP),
    )
    this.#shape('end-shape', ends.join(''))
    this.#shape('beyond', beyond(drawing, plot, BAR_MIDDLE))
    this.#drawActivity(drawing, plot)
    this.#drawCost(task.usage.cost, highestCost, columns)
    this.#name(factsOf(drawing))
  }

  /** Names the row for a screen reader: first the texts that it shows. */
  #name(facts: readonly string[]): void {
    const shown = [this.#label, this.#end, this.#duration, this.#cost]
      .map(({ textContent }) => textContent)
      .filter((text) => text !== '')
    setAttributes(this.node, { 'aria-label': [shown.join(' '), ...facts].join(', ') })
  }

  #drawActivity({ model, tools, failed }: Activity, plot: Plot): void {
    this.#shape('model', bars(model, plot, BAR_TOP + 1, MODEL_HEIGHT))
    for (const type of TOOL_TYPES) {
      const [top, height] = TICKS[type]
      this.#shape(`tool ${type}`, bars(tools[type], plot, TOOL_TOP + top, height))
    }
    this.#shape('failed-tool', crosses(failed, plot, TOOL_TOP + 4.5))
  }

  #drawCost(cost: number, highest: number, { width }: Columns): void {
    // The session itself can cost more than each task.
    const length = highest > 0 ? Math.min(1, cost / highest) * COST_WIDTH : 0
    setText(this.#cost, cost > 0 ? formatCost(cost) : '–')
    setAttributes(this.#costBar, { x: width - 10 - length, width: length })
  }
}

/** Returns what the row shows only as shapes, or cuts off. */
function factsOf({ task, marks: byType }: TaskDrawing): string[] {
  return [
    task.description || task.id,
    task.kind === 'command' ? 'command' : `agent ${task.agent ?? 'unknown'}`,
    `waited ${formatDuration(task.waitingMs)}`,
    `worked ${formatDuration(task.workingMs)}`,
    ...(task.usage.toolCalls > 0 ? [counted(task.usage.toolCalls, 'tool call')] : []),
    ...MARK_TYPES.flatMap((type) => (byType[type].length > 0 ? [MARK_WORDS[type]] : [])),
    ...task.unknown.map((what) => `missing: ${what}`),
  ]
}
