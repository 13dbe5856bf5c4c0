/** A mistake of the caller. The message is written for the model: what is wrong, and what to do next. */
export class ToolError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ToolError'
  }
}
