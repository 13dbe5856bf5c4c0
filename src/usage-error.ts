/** A mistake in a command line or in a file that it names. Its message says what to do. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
