/** What a test can ask of the plugin that drives ours inside OpenCode (`plugin.ts`), and how it finds it. */

/** Requests of the plugin that drives ours have this header: nobody is to count them as ours. */
export const MARK_HEADER = 'x-driver-mark'

/**
 * Calls of ours that go wrong while it is set: of status and record all, of prompt and notice the first in each session.
 * A swallowed prompt is accepted by the host, and nothing of it is stored. `loses its answer`: the call takes effect, and
 * nobody is told.
 */
export type Fault =
  | 'none'
  | `${'status' | 'record'} ${'fails' | 'hangs'}`
  | `${'prompt' | 'notice'} ${'is refused' | 'hangs' | 'is swallowed' | 'loses its answer'}`
  | `events are ${'lost' | 'doubled' | 'out of order'}`

export type ControlRequest =
  /**
   * Resolves when the plugin has reacted to all that has happened, and its timers have fired that are due within so many
   * milliseconds. Its time is then that of the last of them.
   */
  | { readonly type: 'drain'; readonly ms: number }
  /** The same, and all of the milliseconds have passed for the plugin. */
  | { readonly type: 'pass'; readonly ms: number }
  /** Time stands still for the plugin, but for what passes by `pass`; and goes on again. */
  | { readonly type: 'freeze' | 'thaw' }
  /** Somebody sets the machine's time so many milliseconds later, or earlier; no time passes by that. */
  | { readonly type: 'setTime'; readonly ms: number }
  | { readonly type: 'fault'; readonly fault: Fault }

export interface DrivenOptions {
  /** The absolute path of our plugin's bundle. */
  readonly plugin: string
  /** Those of our plugin. */
  readonly options: Readonly<Record<string, unknown>>
  /** Holds a file for each process of OpenCode, named by its pid, with the port of its control server. */
  readonly directory: string
}
