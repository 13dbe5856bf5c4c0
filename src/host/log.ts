/** A log that can be written from anywhere without waiting, and whose own failure harms nobody. */
export interface Log {
  debug(message: string): void
  warn(message: string): void
}

type Level = 'info' | 'warn'

/**
 * Writes to OpenCode's own log, under the name of the plugin. `debug` lines only where they are wanted, and then as
 * `info`: OpenCode keeps no line of a lower level unless it was started for that.
 */
export function hostLog(
  write: (level: Level, message: string) => Promise<void>,
  options: { debug: boolean },
): Log {
  const send = (level: Level) => (message: string) => {
    write(level, message).catch(() => {
      // There is nowhere left to report that.
    })
  }
  const debug = (message: string): void => {
    send('info')(`[BG-DEBUG ${new Date().toISOString().slice(11, 23)}] ${message}`)
  }
  return { debug: options.debug ? debug : () => {}, warn: send('warn') }
}
