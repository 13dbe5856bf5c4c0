/**
 * Explains in a toast, once per machine, how to load the view into the terminal UI: `tui.json` has its entry, not
 * `opencode.json`, and OpenCode does not report that it is missing. The view announces itself with its first task
 * (`VIEW_COMMAND`); the toast appears if no view has done so some time after the first launch.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Session } from '../host/opencode.ts'
import { readRecord } from '../task/record.ts'
import { VIEW_COMMAND } from '../task/request.ts'

interface Ports {
  readonly clock: Clock
  /** The directory of the file that marks the hint as shown. */
  readonly directory: string
  /** Shows a toast in the terminal UI. */
  readonly show: (text: string) => void
}

/** Time for the view to announce itself; long, because a terminal UI starts slowly. */
const ANNOUNCED_WITHIN_MS = 10_000
const SAID = 'view-hint'
const TEXT =
  'The terminal view of background tasks (sidebar, badge, /tasks) is not loaded. ' +
  'Put the entry of this plugin in opencode.json into tui.json as well, and restart OpenCode.'

export class ViewHint {
  readonly #ports: Ports
  #state: 'idle' | 'waiting' | 'over' = 'idle'
  #cancel = (): void => {}

  constructor(ports: Ports) {
    this.#ports = ports
  }

  observeCommand(command: string): void {
    if (command === VIEW_COMMAND) this.dispose()
  }

  observeCreated(session: Session): void {
    if (this.#state === 'idle' && readRecord(session)) this.#wait()
  }

  dispose(): void {
    this.#state = 'over'
    this.#cancel()
  }

  #wait(): void {
    this.#state = 'waiting'
    this.#cancel = this.#ports.clock.after(ANNOUNCED_WITHIN_MS, () => {
      this.dispose()
      if (this.#isSaidNow()) this.#ports.show(TEXT)
    })
  }

  /** Marks the hint as shown, and returns whether it was not yet. If the mark cannot be written, each start shows it. */
  #isSaidNow(): boolean {
    try {
      mkdirSync(this.#ports.directory, { recursive: true, mode: 0o700 })
      writeFileSync(join(this.#ports.directory, SAID), '', { flag: 'wx', mode: 0o600 })
      return true
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'EEXIST'
    }
  }
}
