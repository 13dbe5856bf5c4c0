/** The requests of a test to the driver plugin inside OpenCode (`plugin.ts`), and the file with its port. */

/** The header of the driver plugin's own requests, so that they do not count as our plugin's. */
export const MARK_HEADER = 'x-driver-mark'

/**
 * The current fault. It hits all calls of status and record, and the first prompt and notice in each session. The host
 * accepts a swallowed prompt, and stores nothing of it. `loses its answer`: the call takes effect, and never returns. `idle is held`: the plugin
 * receives idle events only when the fault is over.
 */
export type Fault =
  | 'none'
  | `${'status' | 'record'} ${'fails' | 'hangs'}`
  | `${'prompt' | 'notice'} ${'is refused' | 'hangs' | 'is swallowed' | 'loses its answer'}`
  | `events are ${'lost' | 'doubled' | 'out of order'}`
  | 'idle is held'

export type ControlRequest =
  /**
   * Resolves when the plugin has handled all events, and the timers that are due within `ms` have fired. Its
   * time is then that of the last timer.
   */
  | { readonly type: 'drain'; readonly ms: number }
  /** Resolves as `drain` does, with all of `ms` passed for the plugin. */
  | { readonly type: 'pass'; readonly ms: number }
  /** `freeze` stops the plugin's time, which only `pass` then advances; `thaw` starts it again. */
  | { readonly type: 'freeze' | 'thaw' }
  /** Moves the machine's wall clock by `ms`, without time passing. */
  | { readonly type: 'setTime'; readonly ms: number }
  | { readonly type: 'fault'; readonly fault: Fault }

export interface DrivenOptions {
  /** The absolute path of our plugin's bundle. */
  readonly plugin: string
  /** The options of our plugin. */
  readonly options: Readonly<Record<string, unknown>>
  /** Contains a file for each process of OpenCode, named by its pid, with the port of its control server. */
  readonly directory: string
}
