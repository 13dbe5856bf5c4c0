/** Reads the model of a session as a task holds it. Pure. */
import type { Session } from '../host/opencode.ts'
import type { TaskModel } from './state.ts'

/** Returns the model of a session. OpenCode stores a missing variant as `default`, which is no variant. */
export function modelOf({ model }: Session): TaskModel | undefined {
  if (!model) return undefined
  const { id: modelID, providerID, variant } = model
  return { providerID, modelID, ...(variant !== undefined && variant !== 'default' && { variant }) }
}
