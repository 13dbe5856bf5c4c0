/**
 * Says how to get the view in the terminal UI, where somebody sits before one that has not loaded it: its entry stands in
 * another file than that of the tools, and OpenCode does not say that it is missing. The view announces itself when it
 * first hears of a task (`VIEW_COMMAND`); where none has done so some time after the first launch, a toast says it, once
 * on a machine.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Event } from '../host/opencode.ts'
import { readRecord } from '../task/record.ts'
import { VIEW_COMMAND } from '../task/request.ts'

interface Ports {
  readonly clock: Clock
  /** A directory in which it is kept that this was said. */
  readonly directory: string
  /** Shows a text in the terminal UI. */
  readonly show: (text: string) => void
}

/** A terminal UI that starts at the same time has a lot to do. */
const ANNOUNCED_WITHIN_MS = 10_000
const SAID = 'view-hint'
const TEXT =
  'The terminal view of background tasks (sidebar, badge, /tasks) is not loaded. ' +
  'Put the entry of this plugin in opencode.json into tui.json as well, and start OpenCode again.'

export class ViewHint {
  readonly #ports: Ports
  #state: 'idle' | 'waiting' | 'over' = 'idle'
  #cancel = (): void => {}

  constructor(ports: Ports) {
    this.#ports = ports
  }

  handleEvent(event: Event): void {
    if (this.#state === 'over') return
    if (event.type === 'tui.command.execute' && event.properties.command === VIEW_COMMAND) this.dispose()
    else if (event.type === 'session.created' && readRecord(event.properties.info)) this.#launched()
  }

  dispose(): void {
    this.#state = 'over'
    this.#cancel()
  }

  #launched(): void {
    if (this.#state !== 'idle') return
    this.#state = 'waiting'
    this.#cancel = this.#ports.clock.after(ANNOUNCED_WITHIN_MS, () => {
      this.dispose()
      if (this.#isSaidNow()) this.#ports.show(TEXT)
    })
  }

  /** Whether it was never said before. Where that cannot be kept, it is said with each start. */
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
