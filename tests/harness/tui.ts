/** Runs the real terminal UI with the packed plugin, beside a real server whose tasks a test controls. */
import { homeWithPlugin } from './packed.ts'
import type { Script } from './script.ts'
import type { OpencodeOptions } from './server.ts'
import { startStage, type Parent, type Stage } from './stage.ts'
import { openTerminal, type Terminal, type TerminalOptions } from './terminal.ts'

export interface TuiStage extends Stage {
  /** The session that the terminals show. */
  readonly root: Parent
  /** Opens another terminal on the session. */
  open(options?: Partial<TerminalOptions>): Promise<Terminal>
}

export interface TuiStageOptions {
  /** Answers for the children. */
  readonly child?: Script
  /** The options of the server part. */
  readonly options?: object
  /** The options of the part in the terminal UI. */
  readonly tuiOptions?: object
  /** More keys of `opencode.json`. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly cost?: OpencodeOptions['cost']
}

/** Matches a row of the sidebar with the time of its task, however long that has taken. A longer time cuts off more of the name. */
export function rowWithTime(mark: '●' | '✓', name: string): RegExp {
  return new RegExp(String.raw`${mark} ${name}.* (\d+m )?\d+(\.\d)?s$`, 'm')
}

export async function startTuiStage({
  child,
  options,
  tuiOptions,
  config = {},
  cost,
}: TuiStageOptions = {}): Promise<TuiStage> {
  const home = await homeWithPlugin(options, tuiOptions)
  const stage = await startStage({ home: home.path, plugins: [], config, ...(cost && { cost }) })
  const root = await stage.parent(child, { title: 'The session' })
  const terminals: Terminal[] = []
  return {
    ...stage,
    // Read the stage's server each time, because a restart replaces it.
    get server() {
      return stage.server
    },
    root,
    async open(opening = {}) {
      const args = ['attach', stage.server.url, '--dir', home.directory, '--session', root.id]
      const terminal = await openTerminal({ home: home.path, args, ...opening })
      terminals.push(terminal)
      await terminal.see('ctrl+p')
      return terminal
    },
    async close() {
      await Promise.all(terminals.map((terminal) => terminal.close()))
      await stage.close()
    },
  }
}
