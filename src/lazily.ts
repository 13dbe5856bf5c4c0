/** Loads a part of the package at its first use, because each OpenCode would read its code at the start. */
import { errorText } from './host/opencode.ts'
import { ToolError } from './tool-error.ts'

/**
 * Returns a function that loads a part once. A failed load is forgotten, so that the next call tries again; it rejects with a
 * `ToolError`. A load fails, for example, if the package was replaced since the start.
 */
export function lazily<Loaded>(load: () => Promise<Loaded>): () => Promise<Loaded> {
  let loaded: Promise<Loaded> | undefined
  return () => {
    loaded ??= load().catch((error: unknown) => {
      loaded = undefined
      throw new ToolError(
        `A part of opencode-background could not be loaded: ${errorText(error)}. Try again; if it fails again, tell the user to restart OpenCode.`,
        'hostFailed',
        { cause: error },
      )
    })
    return loaded
  }
}
