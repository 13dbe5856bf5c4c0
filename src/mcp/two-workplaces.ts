/** Tools that find a task at either workplace: the one for commands, and the one for agents. */
import { errorText } from '../host/opencode.ts'
import type { BackgroundManager } from '../manager.ts'
import { backgroundCancel, isForAll } from '../tools/background-cancel.ts'
import { listBackground } from '../tools/list-background.ts'
import type { TaskList } from '../tools/render/list-text.ts'
import { ownTask, type Tool, type ToolShape } from '../tools/tool.ts'
import { callerAt, type McpCaller, type Workplace } from './workplace.ts'

/** Returns a tool that reads, stops or prompts one task of either workplace. */
export function routed<Shape extends ToolShape, Data>(
  make: (workplace: Workplace) => Tool<Shape, Data>,
  home: Workplace,
  other: Workplace | undefined,
): Tool<Shape, Data> {
  const tool = make(home)
  if (!other) return tool
  const elsewhere = make(other)
  return {
    ...tool,
    async call(args, caller) {
      const { task_id } = args as { readonly task_id?: string }
      if (task_id === undefined) return tool.call(args, caller)
      // Look at home first, because the other workplace may be an OpenCode that does not answer.
      if (await isOwn(home.manager, task_id, caller.sessionID)) return tool.call(args, caller)
      const there = await callerAt(other, caller as McpCaller).catch(() => undefined)
      const isThere = there && (await isOwn(other.manager, task_id, there.sessionID))
      return isThere ? elsewhere.call(args, there) : tool.call(args, caller)
    },
  }
}

/** Whether a session has launched a task. */
function isOwn(manager: BackgroundManager, given: string, sessionID: string): Promise<boolean> {
  return ownTask(manager, given, sessionID).then(
    () => true,
    () => false,
  )
}

/** Returns the tool that stops one task, or all tasks of both workplaces. */
export function cancelling(home: Workplace, other: Workplace) {
  const [tool, there] = [routed(backgroundCancel, home, other), backgroundCancel(other)]
  return {
    ...tool,
    async call(args, caller) {
      const answer = await tool.call(args, caller)
      if (!isForAll(args)) return answer
      const { tasks } = await there.call(args, await callerAt(other, caller as McpCaller))
      return { ...answer, tasks: [...answer.tasks, ...tasks] }
    },
  } satisfies typeof tool
}

/** Returns the tool that lists the tasks of both workplaces, including those that other servers of the root have launched. */
export function listed(commands: Workplace, agents: Workplace | undefined) {
  const [tool, ofAgents] = [listBackground(commands), agents && listBackground(agents)]
  return {
    ...tool,
    async call(args, caller) {
      await commands.manager.recover(caller.sessionID, { again: true })
      const list = await tool.call(args, caller)
      if (!agents || !ofAgents) return list
      try {
        const there = await callerAt(agents, caller as McpCaller)
        await agents.manager.recover(there.sessionID, { again: true })
        return joined(await ofAgents.call(args, there), list)
      } catch (error) {
        return { ...list, problems: [...list.problems, errorText(error)] }
      }
    },
  } satisfies typeof tool
}

function joined(first: TaskList, second: TaskList): TaskList {
  return {
    ...first,
    counts: {
      running: first.counts.running + second.counts.running,
      done: first.counts.done + second.counts.done,
      error: first.counts.error + second.counts.error,
    },
    shown: [...first.shown, ...second.shown],
    others: [...first.others, ...second.others],
    origin: undefined,
    problems: [...first.problems, ...second.problems],
  }
}
