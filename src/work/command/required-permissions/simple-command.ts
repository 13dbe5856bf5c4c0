/** A command of a command line, as both parsers describe it. */
export interface SimpleCommand {
  /** As written, with the redirections that belong to it alone. */
  readonly text: string
  /** Its name and plain arguments as written, quotes included, without redirections and assignments. */
  readonly tokens: readonly string[]
}
