/** Renders commands for the tools. Pure. */
import { exitHint } from '../../text/exit-hint.ts'
import { exitCodeText } from '../../work/command/exit-code.ts'
import type { CommandOutput } from '../../work/command/files.ts'
import type { Stream } from '../../work/command/logs.ts'
import { counted, cutMiddle, formatDuration } from '../../text/format.ts'
import { tailOf, type Piece } from '../../text/pages.ts'
import { nameForModel, sanitizeForModel } from '../../text/sanitize.ts'
import type { MonitorView } from '../../work/command/monitoring.ts'
import { STATUSES } from '../../task/status.ts'
import { isEnded, outlivesDefault, type CommandTask } from '../../task/task.ts'
import { pageText } from './page-text.ts'
import { commandStatusText } from './task-status.ts'
import type { ToolNames } from '../../tool-names.ts'
import type { ToolPorts } from '../tool-ports.ts'

export const RULE = '━'.repeat(59)

/** A longer command is cut, because the model that wrote it knows it. */
const SPAN_BYTES = 1000
/** The limits of each stream after sanitizing: both streams and the table fit into an answer. */
const STREAM = { bytes: 22_000, lines: 900 }
/** The maximum length of a fence, whatever the output contains. */
const LONGEST_FENCE = 32

/** Returns a line of code for a table cell. */
export function codeSpan(whole: string): string {
  const text = cutMiddle(whole, SPAN_BYTES, (bytes) => `[… ${bytes} bytes …]`)
  const line = text.replaceAll('\n', ' ⏎ ').replaceAll('|', '\\|')
  const ticks = line.includes('`') ? '``' : '`'
  return `${ticks}${line}${ticks}`
}

interface CommandAnswer {
  readonly task: CommandTask
  readonly note: string | undefined
  readonly output: CommandOutput
  /** When it was read, in milliseconds since the Unix epoch. */
  readonly at: number
  readonly piece: Piece | undefined
  readonly monitor?: MonitorView | undefined
}

export interface TextPorts {
  readonly manager: { readonly toolNames: ToolNames }
  readonly guidance: Pick<ToolPorts['guidance'], 'sendTool' | 'unfinished'>
}

/** Returns the facts of a command with the end of its output, or with the requested page. */
export function commandText(
  { task, note, output, at: now, piece, monitor }: CommandAnswer,
  { manager: { toolNames: names }, guidance }: TextPorts,
): string {
  const { sign } = STATUSES[task.status]
  const { directory } = output
  const rows: [string, string | undefined][] = [
    ['Command', codeSpan(task.command)],
    ['Status', commandStatusText(task, note)],
    ['Duration', durationText(task, now)],
    ['Exit Code', isEnded(task) && task.exit?.type === 'exited' ? exitCodeText(task.exit.code) : undefined],
    ['Signal', isEnded(task) && task.exit?.type === 'killed' ? task.exit.signal : undefined],
    ['Note', isEnded(task) ? exitHint(task) : undefined],
    ['Reason', task.status === 'failed' && task.failure.reason !== 'exit' ? task.failure.message : undefined],
    ['Timeout', outlivesDefault(task) && !isEnded(task) ? `none, since ${proofOf(task)}` : undefined],
    ['Patterns', task.notifyEvery ? task.notifyOn.map(codeSpan).join(' ') : undefined],
    ['Matching lines', monitor && `${monitor.matches}, ${counted(monitor.notices, 'notice')} of them`],
    [
      'Left running',
      output.hasLeftovers ? `leftover processes; ${names.kill_background} kills them` : undefined,
    ],
    [
      'Files',
      task.status === 'pending' || output.isGone ? undefined : codeSpan(`${directory}/{stdout,stderr}`),
    ],
  ]
  return [
    `${sign} **Task ${task.id}** (${nameForModel(task.description)})`,
    RULE,
    '| Property | Value |',
    '|----------|-------|',
    ...rows.flatMap(([name, value]) => (value === undefined ? [] : [`| **${name}** | ${value} |`])),
    RULE,
    ...(monitor ? fenced('🔔 **Last matching lines**', sanitizeForModel(monitor.lines.join('\n'))) : []),
    ...(piece && !output.isGone ? pageLines(piece) : outputLines(output, names)),
    ...(isEnded(task) ? [] : ['', `💡 ${guidance.unfinished}`]),
  ].join('\n')
}

/** Returns the fact that proved a command to be a server. */
function proofOf(task: CommandTask): string {
  const { listening } = { listening: undefined, ...task }
  return listening ? `it listens on port ${listening.port}` : 'its output contains a text of notify_on'
}

function outputLines(output: CommandOutput, names: ToolNames): string[] {
  if (output.isGone) return ['', 'Its output is gone: its files were removed.']
  const lines = [...streamLines('📤', 'stdout', output, names), ...streamLines('⚠️', 'stderr', output, names)]
  if (lines.length > 0) return lines
  const bytes = output.stdout.leftOutBytes + output.stderr.leftOutBytes
  return ['', bytes === 0 ? 'No output.' : `Its output has ${bytes} bytes.`]
}

function pageLines(piece: Piece): string[] {
  const { text, after } = pageText(piece)
  return ['', ...fenced(`📤 **Output**, from offset ${piece.offset}`, text), after]
}

function streamLines(sign: string, stream: Stream, output: CommandOutput, names: ToolNames): string[] {
  const kept = output[stream]
  const { text, leftOutBytes: cutBytes } = tailOf(kept.text, STREAM)
  const leftOutBytes = kept.leftOutBytes + cutBytes
  const ask = `${names.check_background} with offset: 0${stream === 'stdout' ? '' : `, stream: "${stream}"`}`
  const part = leftOutBytes === 0 ? '' : `, its end. ${leftOutBytes} bytes come before it: ${ask}`
  const lines = fenced(`${sign} **Output (${stream})**${part}`, text)
  return lines.length === 0 ? [] : ['', ...lines]
}

function fenced(heading: string, text: string): string[] {
  if (text === '') return []
  const fence = '`'.repeat(Math.min(LONGEST_FENCE, Math.max(3, 1 + longestRun(text))))
  return [`${heading}:`, fence, text.replace(/\n$/, ''), fence]
}

/** Returns the length of the longest run of backticks, because the text cannot close a longer fence. */
function longestRun(text: string): number {
  return Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length))
}

export function durationText(task: CommandTask, now: number): string | undefined {
  if (task.status === 'pending') return undefined
  if (!isEnded(task)) return `${formatDuration(now - task.startedAt)}...`
  return task.startedAt === undefined ? 'never started' : formatDuration(task.endedAt - task.startedAt)
}
