/** The header of the page, above the picture: the session with its figures, and the findings. */
import { formatCost, formatDuration, formatTokens } from '../../text/format.ts'
import { html } from './elements.ts'
import { dateOf, END_TYPES, endTypeOf } from './words.ts'
import type { Interval, SessionTimeline } from '../session-timeline.ts'

export function pageHeader(timeline: SessionTimeline, { from, to }: Interval): HTMLElement {
  const { title, sessionID, directory, readAt, redacted, tasks, turns } = timeline
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
    ['Time', formatDuration(to - from)],
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
      ` · ${dateOf(from)}, read ${dateOf(readAt)}. `,
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

export function findingsSection({ findings }: SessionTimeline): HTMLElement {
  return html(
    'section',
    { class: 'findings', 'aria-labelledby': 'findings-title' },
    html('h2', { id: 'findings-title' }, 'Findings'),
    findings.length === 0
      ? html('p', { class: 'soft' }, 'Nothing stands out.')
      : html('ul', {}, ...findings.map((finding) => html('li', { dir: 'auto' }, finding))),
  )
}
