/**
 * The reason why a call was refused:
 *
 * - `badArgument`: an argument is missing or invalid.
 * - `emptyPrompt`: the prompt is blank.
 * - `unknownTask`, `unknownAgent`, `unknownModel`, `unknownSession`: this id or name does not exist. An agent that is no
 *   sub-agent is unknown too.
 * - `childSession`: the caller is a child session, which cannot start tasks.
 * - `tooManyTasks`: the session has reached `maxTasksPerSession`.
 * - `budgetSpent`: the budget of the task or of the session is spent.
 * - `wrongState`: the task cannot do this in its present state.
 * - `hostFailed`: OpenCode failed, and the caller can retry. The `cause` is a `HostError`.
 */
export type ToolErrorCode =
  | 'badArgument'
  | 'emptyPrompt'
  | 'unknownTask'
  | 'unknownAgent'
  | 'unknownModel'
  | 'unknownSession'
  | 'childSession'
  | 'tooManyTasks'
  | 'budgetSpent'
  | 'wrongState'
  | 'hostFailed'

/** A mistake of the caller. Its message tells the model what is wrong, and what to do next. */
export class ToolError extends Error {
  readonly code: ToolErrorCode

  constructor(message: string, code: ToolErrorCode = 'badArgument', options?: ErrorOptions) {
    super(message, options)
    this.name = 'ToolError'
    this.code = code
  }
}

/** Whether an error is a `ToolError`, also one of another bundle, which has a class of its own. */
export function isToolError(error: unknown): error is ToolError {
  return error instanceof Error && error.name === 'ToolError'
}

export function unknownTask(taskID: string): ToolError {
  return new ToolError(`There is no task ${taskID}.`, 'unknownTask')
}

/** Throws if a prompt is blank. */
export function refuseEmptyPrompt(prompt: string): void {
  if (prompt.trim() === '')
    throw new ToolError('The prompt is empty. Write the whole task in it.', 'emptyPrompt')
}
