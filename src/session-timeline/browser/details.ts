/** The dialog with the details of a task. Its texts are data, and never become markup. */
import { formatCost, formatDuration, formatTokens } from '../../text/format.ts'
import { html } from './elements.ts'
import { dateOf, END_SIGNS, endTypeOf, endWord, MARK_WORDS, PHASE_WORDS, timeOf, wordOf } from './words.ts'
import type { SessionTimeline, TaskTimeline } from '../session-timeline.ts'

/** The time at the beginning of a line of a story. */
const TIME_OF_STEP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/gm

export class Details {
  readonly node = html('dialog', { class: 'details', 'aria-labelledby': 'details-title' })
  readonly #timeline: SessionTimeline
  readonly #startedAt: number

  /** @param startedAt of the session: times on another day show their date */
  constructor(timeline: SessionTimeline, startedAt: number) {
    this.#timeline = timeline
    this.#startedAt = startedAt
    // A click outside of the dialog closes it.
    this.node.addEventListener('click', ({ target }) => {
      if (target === this.node) this.node.close()
    })
  }

  open(task: TaskTimeline): void {
    const close = html('button', { type: 'button', class: 'close', 'aria-label': 'Close' }, '✕')
    close.addEventListener('click', () => {
      this.node.close()
    })
    const content = html(
      'div',
      { class: 'content' },
      html(
        'header',
        {},
        html('h2', { id: 'details-title', dir: 'auto' }, task.description || task.id),
        close,
      ),
      this.#factsOf(task),
      ...this.#runsOf(task),
      ...this.#textsOf(task),
    )
    this.node.replaceChildren(content)
    if (!this.node.open) this.node.showModal()
    this.node.scrollTop = 0
  }

  #factsOf(task: TaskTimeline): HTMLElement {
    const tools = new Map<string, number>()
    for (const { tool } of task.turns.flatMap((turn) => turn.tools))
      tools.set(tool, (tools.get(tool) ?? 0) + 1)
    const isUnfinished = endTypeOf(task) === 'unfinished'
    const end = `${END_SIGNS[endTypeOf(task)]} ${endWord(task)}`
    const facts: [string, string | Node][] = [
      ['Task', task.id],
      [task.kind === 'command' ? 'Kind' : 'Agent', task.kind === 'command' ? 'command' : (task.agent ?? '–')],
      ['Model', task.model ?? ''],
      ['End', isUnfinished ? `${end} when this was read, at ${dateOf(this.#timeline.readAt)}` : end],
      ['Waiting', formatDuration(task.waitingMs)],
      ['Working', formatDuration(task.workingMs)],
      ['Tokens', task.kind === 'agent' ? formatTokens(task.usage.tokens) : ''],
      ['Cost', task.kind === 'agent' ? formatCost(task.usage.cost) : ''],
      [
        'Tool calls',
        [...tools]
          .sort(([, a], [, b]) => b - a)
          .map(([tool, calls]) => `${tool} × ${calls}`)
          .join(', '),
      ],
      ['Waited for', this.#linksTo(task.after ?? [])],
      [
        'Waited for it',
        this.#linksTo(
          this.#timeline.tasks.filter(({ after }) => after?.includes(task.id)).map(({ id }) => id),
        ),
      ],
      ['Missing', task.unknown.join('; ')],
    ]
    return html(
      'dl',
      {},
      ...facts
        .filter(([, value]) => (typeof value === 'string' ? value !== '' : value.hasChildNodes()))
        .flatMap(([name, value]) => [html('dt', {}, name), html('dd', { dir: 'auto' }, value)]),
    )
  }

  #linksTo(ids: readonly string[]): Node {
    const links = html('span')
    for (const id of ids) {
      const task = this.#timeline.tasks.find((one) => one.id === id)
      const button = html('button', { type: 'button', class: 'link' }, task?.description || id)
      if (task)
        button.addEventListener('click', () => {
          this.open(task)
        })
      links.append(task ? button : id, ' ')
    }
    return links
  }

  #runsOf({ runs, marks }: TaskTimeline): HTMLElement[] {
    const lines = [
      ...runs.flatMap(({ run, phases }) =>
        phases.map(({ type, from, to }) => ({
          at: from,
          text: `${runs.length > 1 ? `run ${run} ` : ''}${PHASE_WORDS[type]} for ${formatDuration(to - from)}`,
        })),
      ),
      ...marks.map(({ type, at }) => ({ at, text: MARK_WORDS[type] })),
      ...runs.map(({ run, to, status, reason }) => ({
        at: to,
        text: `${runs.length > 1 ? `run ${run} ` : ''}${status ? wordOf(status, reason) : 'ended; how was not recorded'}`,
      })),
    ].sort((a, b) => a.at - b.at)
    if (lines.length === 0) return []
    const items = lines.map(({ at, text }) =>
      html('li', {}, html('time', {}, timeOf(at, this.#startedAt)), ' ', text),
    )
    return [html('h3', {}, 'What happened'), html('ol', { class: 'events' }, ...items)]
  }

  #textsOf({ kind, texts }: TaskTimeline): HTMLElement[] {
    if (!texts) return [html('p', { class: 'soft' }, 'Its texts were left out.')]
    const { prompt, result, changes, story } = texts
    return [
      ...section(kind === 'command' ? 'Command' : 'Prompt', prompt),
      ...section(kind === 'command' ? 'Output' : 'Result', result),
      ...section('Changes', changes),
      ...section(
        'Story',
        story.join('\n').replaceAll(TIME_OF_STEP, (iso) => this.#localTime(iso)),
      ),
    ]
  }

  #localTime(iso: string): string {
    return timeOf(Date.parse(iso), this.#startedAt)
  }
}

function section(name: string, text: string): HTMLElement[] {
  if (text === '') return []
  return [
    html('h3', {}, name),
    html('pre', { tabindex: 0, role: 'region', 'aria-label': name, dir: 'auto' }, text),
  ]
}
