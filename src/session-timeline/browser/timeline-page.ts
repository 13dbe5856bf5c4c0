/** Builds the page, and updates its parts when the search or the filters change. */
import { counted } from '../../text/format.ts'
import { button, field, select } from './controls.ts'
import { Details } from './details.ts'
import { html } from './elements.ts'
import { factsOfSession, factsOfTask } from './facts.ts'
import { ALL, matches, type Criteria } from './filter.ts'
import { legend, patterns } from './legend.ts'
import { findingsSection, pageHeader } from './page-header.ts'
import { Picture, type Pointed } from './picture.ts'
import { Table } from './table.ts'
import { drawingOf, type TaskDrawing } from './task-drawing.ts'
import { Tooltip } from './tooltip.ts'
import { END_TYPES, endTypeOf } from './words.ts'
import type { SessionTimeline } from '../session-timeline.ts'

export class TimelinePage {
  readonly nodes: readonly Node[]
  readonly #timeline: SessionTimeline
  readonly #startedAt: number
  readonly #drawings: readonly TaskDrawing[]
  readonly #details: Details
  readonly #tooltip = new Tooltip()
  readonly #picture: Picture
  readonly #table: Table
  readonly #search = html('input', {
    type: 'search',
    placeholder: 'Search  ( / )',
    autocomplete: 'off',
  })
  readonly #shown = html('output', { class: 'soft', 'aria-live': 'polite' })
  readonly #copied = html('output', { class: 'soft', 'aria-live': 'polite' })
  #criteria: Criteria = ALL

  constructor(timeline: SessionTimeline) {
    this.#timeline = timeline
    this.#drawings = timeline.tasks.map(drawingOf)
    const times = [...timeline.turns, ...timeline.tasks.flatMap(({ runs }) => runs)]
    this.#startedAt = times.reduce((least, { from }) => Math.min(least, from), timeline.readAt)
    const endedAt = times.reduce((most, { to }) => Math.max(most, to), this.#startedAt)
    this.#details = new Details(timeline, this.#startedAt)
    this.#picture = new Picture(timeline, this.#drawings, {
      onOpen: (task) => {
        this.#tooltip.hide()
        this.#details.open(task)
      },
      onPoint: (pointed) => {
        this.#point(pointed)
      },
    })
    this.#table = new Table(this.#startedAt, (task) => {
      this.#details.open(task)
    })
    this.nodes = [
      patterns(),
      pageHeader(timeline, { from: this.#startedAt, to: endedAt }),
      html('main', {}, findingsSection(timeline), this.#pictureSection(), this.#tableSection()),
      this.#details.node,
      this.#tooltip.node,
    ]
    addEventListener('keydown', (event) => {
      this.#onKey(event)
    })
    // The picture must be in the page before it can measure its width.
    queueMicrotask(() => {
      this.#refresh()
    })
  }

  #pictureSection(): HTMLElement {
    const unknown = this.#timeline.tasks.filter((task) => task.unknown.length > 0).length
    return html(
      'section',
      { 'aria-labelledby': 'picture-title' },
      html('h2', { id: 'picture-title' }, 'Timeline'),
      this.#controls(),
      this.#picture.node,
      ...(this.#timeline.tasks.length === 0
        ? [html('p', { class: 'soft' }, 'This session launched no task.')]
        : []),
      legend(),
      html(
        'p',
        { class: 'soft keys' },
        'Keys: ↑ ↓ rows, ← → pan, Enter opens, Esc closes, + − zoom, 0 the whole time, / search. Drag pans, Ctrl and the wheel zoom.',
      ),
      ...(unknown > 0
        ? [
            html(
              'p',
              { class: 'soft' },
              `Of ${counted(unknown, 'task')} something is missing: unknown times are hatched, and the details say what it is.`,
            ),
          ]
        : []),
    )
  }

  #controls(): HTMLElement {
    const { tasks } = this.#timeline
    const agents = [...new Set(tasks.flatMap(({ agent }) => agent ?? []))].sort()
    const ends = END_TYPES.filter((type) => tasks.some((task) => endTypeOf(task) === type))
    this.#search.addEventListener('input', () => {
      this.#filter({ search: this.#search.value })
    })
    const theme = select('Theme', ['light', 'dark'], 'system', (value) => {
      if (value === '') delete document.documentElement.dataset['theme']
      else document.documentElement.dataset['theme'] = value
    })
    return html(
      'div',
      { class: 'controls', role: 'group', 'aria-label': 'Search, filters and zoom' },
      field('Search', this.#search),
      select('Agent', agents, 'all', (agent) => {
        this.#filter({ agent })
      }),
      select('End', ends, 'all', (status) => {
        this.#filter({ status })
      }),
      select('Kind', ['agent', 'command'], 'all', (kind) => {
        this.#filter({ kind })
      }),
      theme,
      html(
        'div',
        { class: 'zoom' },
        button('−', 'Zoom out', () => {
          this.#picture.zoomBy(-1)
        }),
        button('+', 'Zoom in', () => {
          this.#picture.zoomBy(1)
        }),
        button('Whole', 'Show the whole time', () => {
          this.#picture.zoomOut()
        }),
      ),
      this.#shown,
    )
  }

  #tableSection(): HTMLElement {
    const copy = button('Copy as CSV', 'Copy as CSV', () => {
      void this.#copy()
    })
    return html(
      'section',
      { 'aria-labelledby': 'table-title' },
      html('div', { class: 'title' }, html('h2', { id: 'table-title' }, 'Tasks'), copy, this.#copied),
      this.#table.node,
    )
  }

  #filter(changed: Partial<Criteria>): void {
    this.#criteria = { ...this.#criteria, ...changed }
    this.#refresh()
  }

  #refresh(): void {
    const shown = this.#drawings.filter(({ task }) => matches(task, this.#criteria))
    const all = this.#drawings.length
    this.#shown.textContent =
      shown.length === all ? counted(all, 'task') : `${shown.length} of ${counted(all, 'task')}`
    this.#tooltip.hide()
    this.#picture.show(shown)
    this.#table.show(shown)
  }

  #point(pointed?: Pointed): void {
    if (!pointed || pointed.row.type === 'group') {
      this.#tooltip.hide()
      return
    }
    const { row, at, nearMs, x, y } = pointed
    const facts =
      row.type === 'session'
        ? factsOfSession(this.#timeline, at, nearMs)
        : factsOfTask(
            row.drawing.task,
            { readAt: this.#timeline.readAt, startedAt: this.#startedAt },
            at,
            nearMs,
          )
    this.#tooltip.show(facts, x, y)
  }

  async #copy(): Promise<void> {
    const csv = this.#table.csv()
    try {
      await navigator.clipboard.writeText(csv)
      this.#copied.textContent = 'Copied.'
    } catch {
      // Some browsers forbid that to a page from a file: then the user copies the text.
      const text = html('textarea', { class: 'csv', readonly: '', rows: 6, 'aria-label': 'The table as CSV' })
      text.value = csv
      this.#copied.replaceChildren('The browser did not allow it. Copy this:', text)
      text.select()
    }
  }

  #onKey(event: KeyboardEvent): void {
    const { key, target } = event
    if (event.ctrlKey || event.metaKey || event.altKey || this.#details.node.open) return
    if (target === this.#search && key === 'Escape') {
      this.#search.value = ''
      this.#filter({ search: '' })
      this.#picture.focus()
      return
    }
    if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return
    if (target instanceof HTMLTextAreaElement) return
    if (key === '/') {
      event.preventDefault()
      this.#search.focus()
    } else if (key === '+' || key === '=') this.#picture.zoomBy(1)
    else if (key === '-') this.#picture.zoomBy(-1)
    else if (key === '0') this.#picture.zoomOut()
  }
}
