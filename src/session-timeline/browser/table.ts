/** The table of tasks: sorted by any column, with sums, copied as CSV. */
import { counted, formatCost, formatDuration, formatTokens } from '../../text/format.ts'
import { csvOf } from './csv.ts'
import { html, setAttributes } from './elements.ts'
import { END_SIGNS, endTypeOf, endWord, timeOf } from './words.ts'
import type { TaskDrawing } from './task-drawing.ts'
import type { TaskTimeline } from '../session-timeline.ts'

interface Column {
  readonly name: string
  /** The value by which the table sorts. The CSV has it too, unless `csv` is set. */
  readonly value: (drawing: TaskDrawing) => string | number
  /** @param startedAt of the session */
  readonly text: (drawing: TaskDrawing, startedAt: number) => string
  /** The name of the column in the CSV; default: its name here. */
  readonly csvName?: string
  readonly csv?: (drawing: TaskDrawing) => string | number
  readonly sum?: (sum: number) => string
}

const COLUMNS: readonly Column[] = [
  {
    name: 'Task',
    value: ({ task }) => task.description || task.id,
    text: ({ task }) => task.description || task.id,
  },
  {
    name: 'Agent',
    value: ({ task }) => (task.kind === 'command' ? 'command' : (task.agent ?? '')),
    text: ({ task }) => (task.kind === 'command' ? 'command' : (task.agent ?? '–')),
  },
  { name: 'Model', value: ({ task }) => task.model ?? '', text: ({ task }) => task.model ?? '–' },
  {
    name: 'Start',
    value: ({ from }) => from,
    csv: ({ from }) => new Date(from).toISOString(),
    text: ({ from }, startedAt) => timeOf(from, startedAt),
  },
  {
    name: 'Waiting',
    csvName: 'Waiting (ms)',
    value: ({ task }) => task.waitingMs,
    text: ({ task }) => formatDuration(task.waitingMs),
    sum: formatDuration,
  },
  {
    name: 'Working',
    csvName: 'Working (ms)',
    value: ({ task }) => task.workingMs,
    text: ({ task }) => formatDuration(task.workingMs),
    sum: formatDuration,
  },
  {
    name: 'Tools',
    value: ({ task }) => task.usage.toolCalls,
    text: ({ task }) => String(task.usage.toolCalls),
    sum: String,
  },
  {
    name: 'Tokens',
    value: ({ task }) => task.usage.tokens,
    text: ({ task }) => formatTokens(task.usage.tokens),
    sum: formatTokens,
  },
  {
    name: 'Cost',
    csvName: 'Cost (USD)',
    value: ({ task }) => task.usage.cost,
    // A sum of fractions has digits that mean nothing.
    csv: ({ task }) => Number(task.usage.cost.toFixed(6)),
    text: ({ task }) => formatCost(task.usage.cost),
    sum: formatCost,
  },
  {
    name: 'End',
    value: ({ task }) => endWord(task),
    text: ({ task }) => `${END_SIGNS[endTypeOf(task)]} ${endWord(task)}`,
  },
]

const NUMBERS: ReadonlySet<string> = new Set(['Start', 'Waiting', 'Working', 'Tools', 'Tokens', 'Cost'])
const SLOWEST_FIRST = { column: 'Working', isDescending: true }

export class Table {
  readonly node: HTMLElement
  readonly #onOpen: (task: TaskTimeline) => void
  readonly #heads = new Map<string, HTMLTableCellElement>()
  readonly #body = html('tbody')
  readonly #foot = html('tfoot')
  #sorting = SLOWEST_FIRST
  #drawings: readonly TaskDrawing[] = []

  readonly #startedAt: number

  /** @param startedAt of the session: times on another day show their date */
  constructor(startedAt: number, onOpen: (task: TaskTimeline) => void) {
    this.#startedAt = startedAt
    this.#onOpen = onOpen
    for (const { name } of COLUMNS) {
      const button = html('button', { type: 'button' }, name)
      button.addEventListener('click', () => {
        this.#sortBy(name)
      })
      this.#heads.set(name, html('th', { scope: 'col', class: classOf(name) }, button))
    }
    const table = html(
      'table',
      {},
      html('caption', { class: 'hidden' }, 'Tasks. The heads of the columns sort them.'),
      html('thead', {}, html('tr', {}, ...this.#heads.values())),
      this.#body,
      this.#foot,
    )
    this.node = html(
      'div',
      { class: 'table', tabindex: 0, role: 'region', 'aria-label': 'Table of tasks' },
      table,
    )
  }

  show(drawings: readonly TaskDrawing[]): void {
    this.#drawings = drawings
    this.#draw()
  }

  /** The shown tasks in the shown order. */
  csv(): string {
    return csvOf([
      ['ID', ...COLUMNS.map(({ name, csvName }) => csvName ?? name)],
      ...this.#sorted().map((drawing) => [
        drawing.task.id,
        ...COLUMNS.map(({ value, csv }) => (csv ?? value)(drawing)),
      ]),
    ])
  }

  /** Sorts by a column; sorting by it again reverses the order. */
  #sortBy(column: string): void {
    const isSame = this.#sorting.column === column
    this.#sorting = { column, isDescending: isSame ? !this.#sorting.isDescending : NUMBERS.has(column) }
    this.#draw()
  }

  #sorted(): TaskDrawing[] {
    const { column: name, isDescending } = this.#sorting
    const column = COLUMNS.find((one) => one.name === name)
    if (!column) return [...this.#drawings]
    const sign = isDescending ? -1 : 1
    return this.#drawings.toSorted(
      (a, b) => sign * compare(column.value(a), column.value(b)) || b.task.usage.cost - a.task.usage.cost,
    )
  }

  #draw(): void {
    const { column, isDescending } = this.#sorting
    for (const [name, head] of this.#heads) {
      const order = isDescending ? 'descending' : 'ascending'
      setAttributes(head, { 'aria-sort': name === column ? order : undefined })
    }
    this.#body.replaceChildren(...this.#sorted().map((drawing) => this.#rowOf(drawing)))
    this.#foot.replaceChildren(sumsOf(this.#drawings))
  }

  #rowOf(drawing: TaskDrawing): HTMLTableRowElement {
    const [first, ...others] = COLUMNS
    const button = html(
      'button',
      { type: 'button', dir: 'auto' },
      first?.text(drawing, this.#startedAt) ?? '',
    )
    button.addEventListener('click', () => {
      this.#onOpen(drawing.task)
    })
    return html(
      'tr',
      {},
      html('th', { scope: 'row' }, button),
      ...others.map(({ name, text }) =>
        html(
          'td',
          { class: name === 'End' ? `end ${endTypeOf(drawing.task)}` : classOf(name) },
          html('bdi', {}, text(drawing, this.#startedAt)),
        ),
      ),
    )
  }
}

function sumsOf(drawings: readonly TaskDrawing[]): HTMLTableRowElement {
  const [, ...others] = COLUMNS
  return html(
    'tr',
    {},
    html('th', { scope: 'row' }, counted(drawings.length, 'task')),
    ...others.map(({ name, value, sum }) => {
      const total = drawings.reduce((all, drawing) => all + Number(sum ? value(drawing) : 0), 0)
      return html('td', { class: classOf(name) }, sum?.(total) ?? '')
    }),
  )
}

function classOf(name: string): string {
  return NUMBERS.has(name) ? 'number' : ''
}

function compare(a: string | number, b: string | number): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b))
}
