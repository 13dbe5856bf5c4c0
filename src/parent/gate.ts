/** May this parent be written to now, and as whom? Asked before each send, because a person may be at work there. */
import { HostError, type Opencode } from '../opencode.ts'
import type { TaskModel } from '../task/task.ts'

export type Admission =
  /** Agent, model and variant of its last user message: a prompt without them would change them (contract 4.10). */
  | { readonly type: 'open'; readonly agent?: string; readonly model?: TaskModel }
  /** The user has undone messages: a prompt now would delete them for good (contract 4.15). */
  | { readonly type: 'reverted' }
  | { readonly type: 'gone' }

/** Rejects with a `HostError` where the host does not say. */
export async function admission(opencode: Opencode, parentID: string): Promise<Admission> {
  try {
    const { agent, model, revert } = await opencode.session(parentID)
    if (revert) return { type: 'reverted' }
    return {
      type: 'open',
      ...(agent !== undefined && { agent }),
      ...(model && {
        model: {
          providerID: model.providerID,
          modelID: model.id,
          ...(model.variant !== undefined && { variant: model.variant }),
        },
      }),
    }
  } catch (error) {
    if (error instanceof HostError && error.reason === 'notFound') return { type: 'gone' }
    throw error
  }
}
