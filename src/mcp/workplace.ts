/** A manager, and the session in which the client of this server launches: one for commands, and one for agents. */
import type { Task } from '../task/task.ts'
import type { ToolPorts } from '../tools/tool.ts'
import type { Rule } from './permissions.ts'

export interface Workplace extends ToolPorts {
  /** In milliseconds since an arbitrary moment: nothing sets this clock. */
  readonly monotonic: () => number
  /**
   * Returns the session that launches. Rejects with a `HostError` if OpenCode cannot be reached.
   *
   * @param client the name of the client
   */
  readonly parentID: (client: string) => Promise<string>
  /** Has `parentID` find or make another session, because this one was deleted. */
  readonly forgetParent: (client: string) => void
  /** Returns the rules for what its tools ask, the weakest first. Rejects as `parentID` does. */
  readonly rules: () => Promise<readonly Rule[]>
}

/** Returns the task of a client. Looks for it again where it is unknown, because another process may have launched it. */
export async function findTask(
  workplaces: readonly Workplace[],
  client: string,
  taskID: string,
): Promise<Task | undefined> {
  for (const { manager, parentID } of workplaces) {
    const parent = await parentID(client).catch(() => undefined)
    if (parent === undefined) continue
    if (!manager.get(taskID)) await manager.recover(parent, { again: true })
    const task = manager.get(taskID)
    if (task?.parentID === parent) return task
  }
  return undefined
}
