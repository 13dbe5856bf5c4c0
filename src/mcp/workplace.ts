/** A manager and the session in which a client launches. A server has a workplace for commands, and may have one for agents. */
import type { Task } from '../task/task.ts'
import type { Caller, ToolPorts } from '../tools/tool-ports.ts'
import type { Rule } from './permission-rules.ts'
import type { Roots } from './roots.ts'

export interface Workplace extends ToolPorts {
  /** Returns the milliseconds since an arbitrary moment, by a clock that is never set back. */
  readonly monotonic: () => number
  /**
   * Returns the session that launches. Rejects with a `HostError` if OpenCode cannot be reached.
   *
   * @param client the name of the client
   */
  readonly parentID: (client: string) => Promise<string>
  /** Makes the next call of `parentID` find or create another session, because this one was deleted. */
  readonly forgetParent: (client: string) => void
  /** Returns the permission rules of its tools, the weakest first. Rejects as `parentID` does. */
  readonly rules: () => Promise<readonly Rule[]>
}

/** The caller of a tool over MCP, before it is known in which session the tool launches. */
export interface McpCaller extends Caller {
  /** The name of the client. */
  readonly client: string
  /** Rejects where the client must name its roots first. */
  readonly roots: () => Promise<Roots>
  /** Returns the function that requests permissions, judged by these rules. */
  readonly askBy: (rules: Workplace['rules']) => Caller['ask']
  /** Reports the progress of a wait, in milliseconds. */
  readonly progress: (waitedMs: number, timeoutMs: number, message: string) => void
}

/** Returns the caller with the session and the permission rules of a workplace. Rejects with a `HostError`. */
export async function callerAt({ parentID, rules }: Workplace, caller: McpCaller): Promise<McpCaller> {
  return { ...caller, sessionID: await parentID(caller.client), ask: caller.askBy(rules) }
}

/** Returns the task of a client. Recovers an unknown task first, because another process may have launched it. */
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
