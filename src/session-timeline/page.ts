/** Makes the page of a timeline: one HTML file that loads nothing, with the timeline as data and a script that draws it. */
import { createHash } from 'node:crypto'
import { cutMiddle, leftOut } from '../text/format.ts'
import { brief, sanitize } from '../text/sanitize.ts'
import { compact } from './browser/compact.ts'
import { STYLE } from './browser/style.ts'
import type { SessionTimeline, TaskTexts, TaskTimeline } from './session-timeline.ts'
import { limitTurns } from './turn-limit.ts'

/** The limit of all texts together. */
const MAX_TEXT_BYTES = 3_900_000
/** The limit of everything else in a page. */
const MAX_BYTES_WITHOUT_TEXTS = 980_000
/** The limit of one prompt, result, list of changes or story. */
const MAX_BYTES_OF_TEXT = 32_768
const SMALLEST_CUT_BYTES = 64
/** The limit of a name: a description, a title, an agent. */
const MAX_NAME_LENGTH = 200
const MAX_UNCUT_NAME = 10_000
const MAX_FINDING_LENGTH = 1000

/** @param script the bundle of `browser/page-script.ts` */
export function pageOf(timeline: SessionTimeline, script: string): string {
  const maxBytes = MAX_BYTES_WITHOUT_TEXTS - Buffer.byteLength(script) - Buffer.byteLength(STYLE)
  const data = JSON.stringify(compact(limitTurns(cut(timeline), maxBytes))).replaceAll(
    /[<\u2028\u2029]/g,
    escaped,
  )
  // A script element ends at the first closing tag, even within a string.
  const code = script.replaceAll('\r\n', '\n').replaceAll(/<(?=\/script|!--)/gi, '\\x3C')
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(code)}'`,
    `style-src '${hashOf(STYLE)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
  const title = `Timeline of ${timeline.title || timeline.sessionID}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${brief(title, MAX_NAME_LENGTH).replaceAll(/[<&]/g, (character) => `&#${character.charCodeAt(0)};`)}</title>
<style>${STYLE}</style>
</head>
<body>
<noscript>This page draws its timeline with a script.</noscript>
<script type="application/json" id="timeline">${data}</script>
<script>${code}</script>
</body>
</html>
`
}

/** Escapes a character in JSON. */
function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

/** Sanitizes all texts, and cuts those that are too long; if there are too many texts, cuts them further. */
function cut(timeline: SessionTimeline): SessionTimeline {
  const name = (text: string): string => brief(text.slice(0, MAX_UNCUT_NAME), MAX_NAME_LENGTH)
  const limit = limitOfText(timeline.tasks)
  return {
    ...timeline,
    title: name(timeline.title),
    directory: name(timeline.directory),
    findings: timeline.findings.map((finding) => brief(finding, MAX_FINDING_LENGTH)),
    tasks: timeline.tasks.map((task) => ({
      ...task,
      description: name(task.description),
      ...(task.agent !== undefined && { agent: name(task.agent) }),
      ...(task.model !== undefined && { model: name(task.model) }),
      unknown: task.unknown.map(name),
      ...(task.texts && { texts: cutTexts(task.texts, limit) }),
    })),
  }
}

/** Returns the bytes that each text can have so that all fit. */
function limitOfText(tasks: readonly TaskTimeline[]): number {
  const sizes = tasks.flatMap(({ texts }) => {
    if (!texts) return []
    const { prompt, result, changes, story } = cutTexts(texts, MAX_BYTES_OF_TEXT)
    return [prompt, result, changes, ...story].map(bytesInPage)
  })
  let limit = MAX_BYTES_OF_TEXT
  while (limit > SMALLEST_CUT_BYTES && sum(sizes.map((size) => Math.min(size, limit))) > MAX_TEXT_BYTES)
    limit = Math.floor(limit * 0.8)
  return limit
}

/** Returns the length of a text in the page's JSON. */
function bytesInPage(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) + 5 * (text.match(/</g)?.length ?? 0)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, number) => all + number, 0)
}

function cutTexts({ prompt, result, changes, story }: TaskTexts, limit: number): TaskTexts {
  return {
    prompt: cutText(prompt, limit),
    result: cutText(result, limit),
    changes: cutText(changes, limit),
    story: story.length === 0 ? [] : [cutText(story.join('\n'), limit)],
  }
}

/** Cuts a text to at most `limit` bytes in the page, in which each escape takes several. */
function cutText(text: string, limit: number): string {
  const whole = sanitize(cutMiddle(text, limit, leftOut))
  const bytes = bytesInPage(whole)
  return bytes <= limit ? whole : sanitize(cutMiddle(text, Math.floor((limit * limit) / bytes), leftOut))
}
