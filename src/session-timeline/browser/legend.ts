/** The legend: the meaning of the picture's shapes. */
import { html, svg } from './elements.ts'
import { crosses, marks, type Plot } from './shapes.ts'
import { MARK_WORDS, PHASE_WORDS, TOOL_WORDS } from './words.ts'
import type { MarkType, PhaseType } from '../session-timeline.ts'

const PLOT: Plot = { x: (at) => at, left: 0, right: 28 }

export function legend(): HTMLElement {
  const phases = (Object.keys(PHASE_WORDS) as PhaseType[]).map((type) =>
    entry(PHASE_WORDS[type], [`phase ${type}`, type === 'queued' ? 'M1 6h26v5h-26Z' : 'M1 1h26v14h-26Z']),
  )
  const tools = [
    entry(`tool: ${TOOL_WORDS.read}`, ['tool read', 'M8 8h3v4h-3Zm6 0h3v4h-3Z']),
    entry(`tool: ${TOOL_WORDS.edit}`, ['tool edit', 'M8 3h3v9h-3Zm6 0h3v9h-3Z']),
    entry(`tool: ${TOOL_WORDS.shell}`, ['tool shell', 'M8 3h3v4h-3Zm6 0h3v4h-3Z']),
    entry(`tool: ${TOOL_WORDS.other}`, ['tool other', 'M4 7h20v2h-20Z']),
    entry('tool call failed', ['failed-tool', crosses([{ from: 14, to: 14 }], PLOT, 8)]),
  ]
  const markEntries = (Object.keys(MARK_WORDS) as MarkType[]).map((type) =>
    entry(MARK_WORDS[type], [`mark ${type}`, marks(type, [14], PLOT, 8)]),
  )
  return html(
    'ul',
    { class: 'legend', 'aria-label': 'Legend' },
    ...phases,
    entry('model', ['model', 'M1 4h26v7h-26Z']),
    ...tools,
    ...markEntries,
    entry('end: done', ['end-shape', 'M14 1v14']),
    entry('error', ['end-shape', 'M10 4l8 8m0-8l-8 8']),
    entry('cancelled', ['end-shape', 'M11 4h7v7h-7Z']),
    entry('still running', ['end-shape', 'M12 3l5 5l-5 5']),
    entry('when this was read', ['read-line', 'M14 0V16']),
    entry('waited for', ['dependencies', 'M2 3H14V13m-3 -4l3 4l3 -4']),
  )
}

function entry(name: string, [type, d]: readonly [string, string]): HTMLElement {
  const picture = svg(
    'svg',
    { width: 28, height: 16, 'aria-hidden': 'true' },
    svg('path', { class: type, d }),
  )
  return html('li', {}, picture, name)
}

/** Returns the hatchings that the style refers to. */
export function patterns(): SVGElement {
  const pattern = (id: string, size: number, d: string): SVGElement =>
    svg(
      'pattern',
      { id, width: size, height: size, patternUnits: 'userSpaceOnUse' },
      svg('rect', { class: `${id}-back`, width: size, height: size }),
      svg('path', { class: `${id}-line`, d }),
    )
  return svg(
    'svg',
    { class: 'patterns', width: 0, height: 0, 'aria-hidden': 'true' },
    svg(
      'defs',
      {},
      pattern('unknown', 6, 'M-1 7L7 -1M-1 1L1 -1M5 7L7 5'),
      pattern('permission', 5, 'M2.5 0V5'),
      pattern('retry', 5, 'M1 1h1.6v1.6h-1.6ZM3.5 3.5h1.6v1.6h-1.6Z'),
    ),
  )
}
