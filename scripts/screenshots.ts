/**
 * Draws the README's pictures: `npm run screenshots`. Plays the demo in the real terminal UI in tmux, and
 * renders its screen. Needs tmux.
 */
import xterm from '@xterm/headless'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const SOCKET = `screenshots-${process.pid}`
const COLUMNS = 150
const ROWS = 34
/** The size of a cell, in the picture's units. */
const WIDTH = 8.4
const HEIGHT = 18
const PATIENCE_MS = 120_000
/** The screen shows only these two of the 16 colours that a terminal defines. */
const PAPER = '#0a0a0a'
const INK = '#eeeeee'

type Cell = NonNullable<ReturnType<xterm.IBufferLine['getCell']>>

interface Run {
  readonly from: number
  text: string
  cells: number
  readonly ink: string
  readonly paper: string
  readonly isBold: boolean
}

function tmux(...args: readonly string[]): string {
  return execFileSync('tmux', ['-L', SOCKET, '-f', '/dev/null', ...args], { encoding: 'utf8' })
}

async function see(what: RegExp): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  while (!what.test(tmux('capture-pane', '-p'))) {
    if (Date.now() > deadline) throw new Error(`Not seen: ${what}\n${tmux('capture-pane', '-p')}`)
    await sleep(100)
  }
}

/** Resolves with the screen, as cells with their colours. */
async function screen(): Promise<xterm.IBuffer> {
  const terminal = new xterm.Terminal({ cols: COLUMNS, rows: ROWS, allowProposedApi: true })
  const shown = tmux('capture-pane', '-p', '-e', '-N')
    .trimEnd()
    // The demo's project is in a temporary directory.
    .replaceAll(/\/\S*\/opencode-home-\w+\/project/g, (path) => '~/project'.padEnd(path.length))
  const lines = shown.split('\n')
  await new Promise<void>((resolve) => terminal.write(lines.join('\r\n'), resolve))
  return terminal.buffer.active
}

function colour(isRgb: boolean, value: number, otherwise: string): string {
  return isRgb ? `#${value.toString(16).padStart(6, '0')}` : otherwise
}

function runsOf(line: xterm.IBufferLine): Run[] {
  const runs: Run[] = []
  for (let column = 0; column < COLUMNS; column += 1) {
    const cell = line.getCell(column)
    // The second half of a wide character has no cell.
    if (!cell || cell.getWidth() === 0) continue
    const { ink, paper } = coloursOf(cell)
    const isBold = cell.isBold() !== 0
    const last = runs.at(-1)
    const chars = cell.getChars() || ' '
    if (last && last.ink === ink && last.paper === paper && last.isBold === isBold) {
      last.text += chars
      last.cells += cell.getWidth()
    } else runs.push({ from: column, text: chars, cells: cell.getWidth(), ink, paper, isBold })
  }
  return runs
}

function coloursOf(cell: Cell): { ink: string; paper: string } {
  const ink = colour(cell.isFgRGB(), cell.getFgColor(), INK)
  const paper = colour(cell.isBgRGB(), cell.getBgColor(), PAPER)
  return cell.isInverse() ? { ink: paper, paper: ink } : { ink, paper }
}

function picture(buffer: xterm.IBuffer): string {
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const line = buffer.getLine(row)
    return line ? runsOf(line).map((run) => drawing(run, row)) : []
  })
  const [width, height] = [COLUMNS * WIDTH, ROWS * HEIGHT]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">`,
    `<rect width="${width}" height="${height}" rx="6" fill="${PAPER}"/>`,
    ...rows.flat(2),
    '</svg>\n',
  ].join('\n')
}

function drawing({ from, text, cells, ink, paper, isBold }: Run, row: number): string[] {
  const [x, y, width] = [(from * WIDTH).toFixed(1), row * HEIGHT, (cells * WIDTH).toFixed(1)]
  const words = text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    // SVG collapses successive blanks of a text.
    .replaceAll(' ', '\u00A0')
  return [
    ...(paper === PAPER
      ? []
      : [`<rect x="${x}" y="${y}" width="${width}" height="${HEIGHT}" fill="${paper}"/>`]),
    ...(text.trim() === ''
      ? []
      : [
          `<text x="${x}" y="${y + 13.5}" textLength="${width}" lengthAdjust="spacingAndGlyphs" fill="${ink}"${isBold ? ' font-weight="bold"' : ''}>${words}</text>`,
        ]),
  ]
}

async function take(name: string): Promise<void> {
  const directory = join(root, 'docs', 'screens')
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, `${name}.svg`), picture(await screen()))
  console.log(`docs/screens/${name}.svg`)
}

const tsx = join(root, 'node_modules', '.bin', 'tsx')
const size = ['-x', `${COLUMNS}`, '-y', `${ROWS}`]
tmux('new-session', '-d', ...size, '-c', root, `COLORTERM=truecolor '${tsx}' demo/demo.ts --tui`)
try {
  await see(/Background 2 running[^]*✗/)
  await see(/✗ check the licences \(general\) failed/)
  await take('sidebar')
  tmux('send-keys', 'C-x')
  tmux('send-keys', 'j')
  await see(/Background tasks: /)
  await sleep(500)
  await take('tasks')
  tmux('send-keys', 'Escape')
  tmux('send-keys', 'C-c')
  await sleep(3000)
} finally {
  tmux('kill-server')
}
