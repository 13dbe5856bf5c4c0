/**
 * Executes `background_task`. A bundle of its own that its first call loads, because each OpenCode would read the code at its
 * start.
 */
import type { BackgroundManager } from '../manager.ts'
import { brief } from '../text/sanitize.ts'
import { ToolError } from '../tool-error.ts'
import type { AgentTask, Task } from '../task/task.ts'
import type { TaskArgs } from './task-arguments.ts'
import type { StartedTask } from './render/started-text.ts'
import { statusNote } from './render/task-status.ts'
import { askForCommand } from './run-background.ts'
import { ownTask } from './tool.ts'
import type { Caller, ToolPorts } from './tool-ports.ts'

/** The length of the default description: the first words of the prompt. */
const NAME_LENGTH = 60
/** The names that models write for the default model, from the agent files of other tools. */
const USUAL_MODEL = /^(?:inherit|default)$/i
/** A longer description is cut: it only names the task, the agent reads the prompt. */
const LONGEST_NAME = 200

export async function launch(
  manager: BackgroundManager,
  args: TaskArgs,
  caller: Caller,
): Promise<StartedTask> {
  const { prompt, agent: named, worktree, budget, where } = args
  const model = namedModel(args)
  const description = brief(
    args.description ?? prompt,
    args.description === undefined ? NAME_LENGTH : LONGEST_NAME,
  )
  if (named === undefined) throw new ToolError(missing('agent', 'the name of a sub-agent'))
  const after: string[] = []
  for (const id of args.after ?? []) after.push((await ownTask(manager, id, caller.sessionID)).id)
  // Permission rules match the agent's exact name.
  const agent = await manager.subagent(named)
  await ask(caller, agent, description)
  if (where === undefined) await askForSetup(manager, agent, worktree, caller)
  const request = { parentID: caller.sessionID, agent, prompt, description, worktree, budget, where, after }
  const task = await manager.launch({ ...request, ...(model !== undefined && { model }) })
  return startedTask(manager, task, undefined)
}

export async function say(
  ports: ToolPorts,
  taskID: string,
  args: TaskArgs,
  caller: Caller,
): Promise<StartedTask> {
  const { manager } = ports
  const { description, prompt, agent, budget } = args
  const model = namedModel(args)
  const before = await ownTask(manager, taskID, caller.sessionID)
  if (before.kind !== 'agent') {
    throw new ToolError(
      `${before.id} is a ${ports.traitsOf(before).noun}: it reads no prompts. Start another.`,
    )
  }
  if (agent !== undefined && (await manager.subagent(agent)) !== before.agent) {
    throw new ToolError(`${before.id} already runs as agent "${before.agent}": omit agent.`)
  }
  if (args.after?.length)
    throw new ToolError(`${before.id} exists already: omit after, or start a new task with it.`)
  if (args.where !== undefined) throw new ToolError(`${before.id} stays where it is: omit where.`)
  if (args.worktree !== undefined && args.worktree !== (before.worktree !== undefined)) {
    const where = before.worktree ? 'in its own worktree' : 'in your directory'
    throw new ToolError(`${before.id} works ${where}, and cannot be moved: omit worktree.`)
  }
  await ask(caller, before.agent, description ?? before.description)
  if (!before.place) await askForSetup(manager, before.agent, before.worktree ?? false, caller)
  const task = await manager.continue(before.id, prompt, {
    ...(description !== undefined && { description: brief(description, LONGEST_NAME) }),
    ...(model !== undefined && { model }),
    budget,
  })
  return startedTask(manager, task, before)
}

async function startedTask(
  manager: BackgroundManager,
  task: Task,
  before: Task | undefined,
): Promise<StartedTask> {
  // The task has started: after a refusal, the model would start it again.
  const unpriced = await manager.unpricedModel(task.id).catch(() => undefined)
  return { task, note: statusNote(manager, task), before, budget: await manager.budget(task.id), unpriced }
}

/** Returns the requested model; `undefined` for the default one. */
function namedModel({ model }: TaskArgs): string | undefined {
  return model === undefined || USUAL_MODEL.test(model) ? undefined : model
}

/** Requests the permission of OpenCode's own task tool. */
async function ask(caller: Caller, agent: string, description: string): Promise<void> {
  await caller.ask({
    permission: 'task',
    patterns: [agent],
    always: ['*'],
    metadata: { description, agent },
  })
}

/** Requests the permissions of `worktree.setup`, if the run begins with it: its tree has the files of the caller's directory. */
async function askForSetup(
  manager: BackgroundManager,
  agent: string,
  worktree: TaskArgs['worktree'] | AgentTask['worktree'],
  caller: Caller,
): Promise<void> {
  const setup = await manager.setupOf(agent, worktree)
  if (setup !== '') await askForCommand(caller, setup, caller.directory, manager)
}

function missing(argument: string, what: string): string {
  return `${argument}: a new task needs it (${what}). Correct the arguments and call again.`
}
