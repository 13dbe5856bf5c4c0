/** Refuses the id of a task that a session does not know. A bundle of its own, because few calls name such an id. */
import type { BackgroundManager } from '../manager.ts'
import { ToolError } from '../tool-error.ts'
import { processText } from './render/process-text.ts'

/** How many tasks a refusal names. */
const NAMED = 20

/** Rejects with a `ToolError` that says whose task it is, or which ones the session knows. */
export async function refuseUnknownTask(
  manager: BackgroundManager,
  taskID: string,
  sessionID: string,
): Promise<never> {
  const other = manager.others(sessionID).find((each) => each.task.id === taskID)
  if (other) throw new ToolError(`Task "${taskID}" is run by ${processText(other)}, which reports its end.`)
  const origin = await manager.forkedFrom(sessionID, taskID)
  if (origin !== undefined) {
    throw new ToolError(
      `Task "${taskID}" belongs to the session that this one was forked from (${origin}), and its notice goes there. ` +
        'Start a new one here.',
    )
  }
  const known = manager.list(sessionID).map(({ id }) => id)
  const newest = known.slice(-NAMED)
  const older = known.length > NAMED ? `, and ${known.length - NAMED} older ones` : ''
  const hint = known.length === 0 ? 'None is known here.' : `Known here: ${newest.join(', ')}${older}.`
  throw new ToolError(`Task "${taskID}" not found. ${hint}`)
}
