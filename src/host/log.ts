/** A log whose methods return at once and never throw. */
export interface Log {
  debug(message: string): void
  warn(message: string): void
}

type Level = 'info' | 'warn'

/**
 * Writes to OpenCode's log. `debug` writes only with the option `debug`, and at level `info`, because OpenCode drops lower
 * levels unless it was started with them.
 */
export function hostLog(
  write: (level: Level, message: string) => Promise<void>,
  options: { debug: boolean },
): Log {
  const send = (level: Level) => (message: string) => {
    write(level, message).catch(() => {
      // A failed log write can be reported nowhere.
    })
  }
  const debug = (message: string): void => {
    send('info')(`[BG-DEBUG ${new Date().toISOString().slice(11, 23)}] ${message}`)
  }
  return { debug: options.debug ? debug : () => {}, warn: send('warn') }
}
