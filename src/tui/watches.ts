/** Watches each session from its first display on, so that its toasts appear later too. */
import type { Event } from '@opencode-ai/sdk/v2'
import { Watch } from './watch.ts'
import { Toasts, type Toast } from './toasts.ts'

export class Watches {
  readonly #ports: ConstructorParameters<typeof Watch>[0]
  readonly #show: (toast: Toast) => void
  readonly #watches = new Map<string, Watch>()
  readonly #toasts = new Set<Toasts>()

  constructor(ports: ConstructorParameters<typeof Watch>[0], show: (toast: Toast) => void) {
    this.#ports = ports
    this.#show = show
  }

  of(sessionID: string): Watch {
    const known = this.#watches.get(sessionID)
    if (known) return known
    const watch = new Watch(this.#ports, sessionID)
    this.#watches.set(sessionID, watch)
    void watch.load()
    const toasts = new Toasts(this.#ports.clock, this.#show)
    this.#toasts.add(toasts)
    watch.subscribe(() => toasts.see(watch.views))
    return watch
  }

  handleEvent(event: Event): void {
    for (const watch of this.#watches.values()) watch.handleEvent(event)
  }

  /** Loads all sessions again, because events may have been missed. */
  reload(): void {
    for (const watch of this.#watches.values()) watch.reload()
  }

  dispose(): void {
    for (const watch of this.#watches.values()) watch.dispose()
    for (const toasts of this.#toasts) toasts.dispose()
    this.#watches.clear()
  }
}
