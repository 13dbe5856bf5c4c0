/** The sessions that are looked at, or were: each is watched from the first time on, so that its toasts come. */
import type { Event } from '@opencode-ai/sdk/v2'
import { Watch } from './watch.ts'
import { toastsFor, type Toast } from './toasts.ts'

export class Watches {
  readonly #ports: ConstructorParameters<typeof Watch>[0]
  readonly #show: (toast: Toast) => void
  readonly #watches = new Map<string, Watch>()

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
    let before = watch.views
    watch.subscribe(() => {
      const after = watch.views
      for (const toast of toastsFor(before, after)) this.#show(toast)
      before = after
    })
    return watch
  }

  handleEvent(event: Event): void {
    for (const watch of this.#watches.values()) watch.handleEvent(event)
  }

  /** Events may have been missed. */
  reload(): void {
    for (const watch of this.#watches.values()) watch.reload()
  }

  dispose(): void {
    for (const watch of this.#watches.values()) watch.dispose()
    this.#watches.clear()
  }
}
