/**
 * Runs the real OpenCode in tmux, so that a test can read its screen and use keys and mouse as a person does.
 * Each terminal has its own tmux server, because others on the machine must stay untouched.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { environment, homeAt } from './home.ts'
import { opencodeBinary } from './process.ts'
import { WAIT_LIMIT_MS } from './spy.ts'

const run = promisify(execFile)

export interface TerminalOptions {
  /** The home in which OpenCode runs. */
  readonly home: string
  /** The arguments of OpenCode. */
  readonly args?: readonly string[]
  readonly columns?: number
  readonly rows?: number
}

export type Colour = readonly [red: number, green: number, blue: number]

export interface Terminal {
  /** Resolves with the screen, its lines without trailing blanks. */
  screen(): Promise<string>
  /** Resolves with the colours of a text on the screen, as `[foreground, background]` of red, green and blue. */
  coloursOf(text: string): Promise<readonly [Colour, Colour]>
  /**
   * Resolves with the screen once all of `what` is on it, because OpenCode draws it piece by piece. Otherwise
   * rejects with the last screen.
   */
  see(what: Sight | readonly Sight[], options?: SeeOptions): Promise<string>
  /** Presses keys by tmux's names, as `Enter`, `Escape`, `C-b`. */
  press(...keys: readonly string[]): Promise<void>
  /** Types a text once the cursor is in the line with `into`, because earlier input is lost. */
  type(text: string, into?: string): Promise<void>
  /** Clicks the first occurrence of this text on the screen. */
  click(text: string): Promise<void>
  resize(columns: number, rows: number): Promise<void>
  /** Ends OpenCode, and resolves when it is gone, because it writes into its home until then. */
  close(): Promise<void>
}

/** An expected part of the screen: a text, a pattern, or a predicate. */
export type Sight = string | RegExp | ((screen: string) => boolean)

export interface SeeOptions {
  /** Default `WAIT_LIMIT_MS`. */
  readonly timeoutMs?: number
}

const BLACK: Colour = [0, 0, 0]

function colourOf([, red, green, blue]: readonly (string | undefined)[]): Colour {
  return [Number(red), Number(green), Number(blue)]
}

const LOOK_MS = 50
const PATIENCE_MS = 20_000

function isOn(screen: string, sight: Sight): boolean {
  if (typeof sight === 'string') return screen.includes(sight)
  return sight instanceof RegExp ? sight.test(screen) : sight(screen)
}

export async function openTerminal({
  home,
  args = [],
  columns = 150,
  rows = 45,
}: TerminalOptions): Promise<Terminal> {
  const { directory } = homeAt(home)
  const socket = `opencode-${randomBytes(4).toString('hex')}`
  const env = {
    ...environment(homeAt(home)),
    TERM: 'xterm-256color',
    COLORTERM: 'truecolor',
  }
  const tmux = async (...command: readonly string[]): Promise<string> => {
    try {
      const { stdout } = await run('tmux', ['-L', socket, '-f', '/dev/null', ...command], { env })
      return stdout
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new Error('These tests need tmux: apt-get install -y tmux', { cause: error })
    }
  }
  const line = [opencodeBinary(), ...args].map((word) => `'${word}'`).join(' ')
  // Retain the screen of an OpenCode that has ended, for the error.
  const options = [
    'set-option',
    '-g',
    'remain-on-exit',
    'on',
    ';',
    'set-option',
    '-s',
    'escape-time',
    '0',
    ';',
  ]
  const size = ['-x', `${columns}`, '-y', `${rows}`]
  await tmux(...options, 'new-session', '-d', ...size, '-c', directory, line)

  const pid = Number(await tmux('display-message', '-p', '#{pane_pid}'))

  const screen = async (): Promise<string> => {
    const lines = (await tmux('capture-pane', '-p')).split('\n')
    return lines.map((text) => text.trimEnd()).join('\n')
  }
  const cursorIn = async (label: string): Promise<void> => {
    const deadline = Date.now() + PATIENCE_MS
    for (;;) {
      const [isShown, row] = (await tmux('display-message', '-p', '#{cursor_flag} #{cursor_y}')).split(' ')
      if (isShown === '1' && (await screen()).split('\n')[Number(row)]?.includes(label)) return
      if (Date.now() > deadline) throw new Error(`The cursor is not in "${label}":\n${await screen()}`)
      await sleep(LOOK_MS)
    }
  }
  const terminal: Terminal = {
    screen,
    async coloursOf(text) {
      const painted = await tmux('capture-pane', '-p', '-e')
      let colours: readonly [Colour, Colour] = [BLACK, BLACK]
      // tmux writes only changes of colour, always as red, green and blue here.
      for (const piece of painted.split('\u001B[')) {
        const end = piece.indexOf('m')
        const ink = /38;2;(\d+);(\d+);(\d+)/.exec(piece.slice(0, end))
        const paper = /48;2;(\d+);(\d+);(\d+)/.exec(piece.slice(0, end))
        colours = [ink ? colourOf(ink) : colours[0], paper ? colourOf(paper) : colours[1]]
        if (piece.slice(end + 1).includes(text)) return colours
      }
      throw new Error(`Not seen in one colour: ${text}\n${await screen()}`)
    },
    async see(what, { timeoutMs = WAIT_LIMIT_MS } = {}) {
      const sights = Array.isArray(what) ? (what as readonly Sight[]) : [what as Sight]
      const isSeen = (now: string): boolean => sights.every((sight) => isOn(now, sight))
      const deadline = Date.now() + timeoutMs
      for (;;) {
        const now = await screen()
        if (isSeen(now)) return now
        if (Date.now() > deadline) throw new Error(`Not seen: ${String(what)}\nThe screen:\n${now}`)
        await sleep(LOOK_MS)
      }
    },
    async press(...keys) {
      await tmux('send-keys', ...keys)
    },
    async type(text, into) {
      if (into !== undefined) await cursorIn(into)
      await tmux('send-keys', '-l', text)
    },
    async click(text) {
      const lines = (await terminal.see(text)).split('\n')
      const row = lines.findIndex((it) => it.includes(text)) + 1
      const column = (lines[row - 1] ?? '').indexOf(text) + 1
      // Send press and release as the bytes of a mouse report; tmux would split them up if they were sent as text.
      for (const end of ['M', 'm']) {
        const bytes = [...Buffer.from(`\u001B[<0;${column};${row}${end}`)]
        await tmux('send-keys', '-H', ...bytes.map((byte) => byte.toString(16)))
      }
    },
    async resize(width, height) {
      await tmux('resize-window', '-x', `${width}`, '-y', `${height}`)
    },
    async close() {
      await tmux('kill-server')
      await gone(pid)
    },
  }
  return terminal
}

/** Waits until the process that tmux has asked to end is gone, and kills it after a while. */
async function gone(pid: number): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  try {
    for (;;) {
      process.kill(pid, Date.now() > deadline ? 'SIGKILL' : 0)
      await sleep(LOOK_MS)
    }
  } catch {
    // The process is gone.
  }
}
