/** Builds the page, and updates its parts when the search or the filters change. */
import { counted, formatCost, formatDuration, formatTokens } from '../../text/format.ts'
import { Details } from './details.ts'
import { html } from './elements.ts'
import { factsOfSession, factsOfTask } from './facts.ts'
import { ALL, matches, type Criteria } from './filter.ts'
import { legend, patterns } from './legend.ts'
import { Picture, type Pointed } from './picture.ts'
import { Table } from './table.ts'
import { drawingOf, type TaskDrawing } from './task-drawing.ts'
import { Tooltip } from './tooltip.ts'
import { dateOf, END_TYPES, endTypeOf } from './words.ts'
import type { SessionTimeline } from '../session-timeline.ts'

export class TimelinePage {
  readonly nodes: readonly Node[]
  readonly #timeline: SessionTimeline
  readonly #startedAt: number
  readonly #endedAt: number
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
    this.#endedAt = times.reduce((most, { to }) => Math.max(most, to), this.#startedAt)
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
      this.#header(),
      html('main', {}, this.#findings(), this.#pictureSection(), this.#tableSection()),
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

  #header(): HTMLElement {
    const { title, sessionID, directory, readAt, redacted, tasks, turns } = this.#timeline
    const usages = [...turns, ...tasks.map(({ usage }) => usage)]
    const cost = usages.reduce((sum, usage) => sum + usage.cost, 0)
    const tokens = usages.reduce((sum, usage) => sum + usage.tokens, 0)
    const ends = END_TYPES.map(
      (type) => [type, tasks.filter((task) => endTypeOf(task) === type).length] as const,
    )
    const figures: [string, string][] = [
      ['Tasks', String(tasks.length)],
      ...ends
        .filter(([, number]) => number > 0)
        .map(([type, number]): [string, string] => [type, String(number)]),
      ['Time', formatDuration(this.#endedAt - this.#startedAt)],
      ['Tokens', formatTokens(tokens)],
      ['Cost', formatCost(cost)],
    ]
    return html(
      'header',
      { class: 'page-header' },
      html('h1', { dir: 'auto' }, title || `Session ${sessionID}`),
      html(
        'p',
        { class: 'soft' },
        html('bdi', {}, [sessionID, directory].filter((text) => text !== '').join(' · ')),
        ` · ${dateOf(this.#startedAt)}, read ${dateOf(readAt)}. `,
        redacted
          ? 'Prompts and results are left out. This page holds ids, agents, models, tools, times, tokens and costs.'
          : 'This page holds prompts and results: think before you share it.',
      ),
      html(
        'dl',
        { class: 'figures' },
        ...figures.map(([name, value]) => html('div', {}, html('dt', {}, name), html('dd', {}, value))),
      ),
    )
  }

  #findings(): HTMLElement {
    const { findings } = this.#timeline
    return html(
      'section',
      { class: 'findings', 'aria-labelledby': 'findings-title' },
      html('h2', { id: 'findings-title' }, 'Findings'),
      findings.length === 0
        ? html('p', { class: 'soft' }, 'Nothing stands out.')
        : html('ul', {}, ...findings.map((finding) => html('li', { dir: 'auto' }, finding))),
    )
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

/** An empty value stands for the first option. */
function select(
  name: string,
  values: readonly string[],
  first: string,
  onChange: (value: string) => void,
): HTMLElement {
  const element = html(
    'select',
    {},
    html('option', { value: '' }, first),
    ...values.map((value) => html('option', { value }, value)),
  )
  element.addEventListener('change', () => {
    onChange(element.value)
  })
  return field(name, element)
}

function field(name: string, control: HTMLElement): HTMLElement {
  control.id = name.toLowerCase()
  return html('div', { class: 'field' }, html('label', { for: control.id }, name), control)
}

function button(text: string, label: string, onClick: () => void): HTMLButtonElement {
  const element = html('button', { type: 'button', 'aria-label': label, title: label }, text)
  element.addEventListener('click', onClick)
  return element
}
