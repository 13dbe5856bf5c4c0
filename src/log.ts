/** A log that can be written from anywhere without waiting, and whose own failure harms nobody. */
export interface Log {
  debug(message: string): void
  warn(message: string): void
  error(message: string): void
}

type Level = keyof Log

/** Writes to OpenCode's own log, under the name of the plugin; `debug` lines only where they are wanted. */
export function hostLog(
  write: (level: Level, message: string) => Promise<void>,
  options: { debug: boolean },
): Log {
  const send = (level: Level) => (message: string) => {
    write(level, message).catch(() => {
      // There is nowhere left to report that.
    })
  }
  return { debug: options.debug ? send('debug') : () => {}, warn: send('warn'), error: send('error') }
}
