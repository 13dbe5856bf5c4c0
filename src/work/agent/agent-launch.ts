/** Makes an agent's work from a request: checks the agent and the model, and limits the permissions of the child session. */
import { relative } from 'node:path'
import { errorText, type PermissionRuleset, type Session, type Agent } from '../../host/opencode.ts'
import { limitsOf, refuseBadBudget } from '../../task/budget.ts'
import { newPromptID } from '../../task/id.ts'
import { modelOf } from '../../task/model.ts'
import type { Budget, TaskModel } from '../../task/state.ts'
import { refuseEmptyPrompt, ToolError } from '../../tool-error.ts'
import type { ToolNames } from '../../tool-names.ts'
import type { KindLaunch } from '../kind.ts'
import type { AgentWork, MachinePlace, Place, Worktree } from './agent-work.ts'
import type { Catalogue } from './catalogue.ts'
import type { WorktreeRuns } from '../../worktree/worktree-runs.ts'
import type { TreeTask } from '../../worktree/worktrees.ts'

export interface LaunchRequest {
  /** The session that launches, and receives the notice. */
  readonly parentID: string
  /** The name of a sub-agent. */
  readonly agent: string
  /** The whole task: the child receives nothing else. */
  readonly prompt: string
  /** Three to five words, for people. */
  readonly description: string
  /** As `provider/model`. Default: the agent's own, otherwise the parent's with its variant. */
  readonly model?: string | undefined
  /** The variant of `model`: OpenCode's term for reasoning effort. */
  readonly variant?: string | undefined
  /**
   * Whether the agent works in a git worktree of its own, made from the present state of the parent's directory. Default:
   * whether the option `worktree.agents` has it.
   */
  readonly worktree?: boolean | undefined
  /** What all runs of the task may use together. Default, for each limit: the option `budget.task`. */
  readonly budget?: Budget | undefined
  /**
   * Where the agent works: the name of a machine of the option `machines`, a label of some, a label of the option `fleet`, or
   * `any`: a worker of the fleet, else any machine. It works in a worktree there, and its changes come back as a branch.
   * Default: at this OpenCode.
   */
  readonly where?: string | undefined
  /** The ids of tasks of the same session: the agent starts once all have completed, with their results in its prompt. */
  readonly after?: readonly string[] | undefined
}

/** The value of `where` for any worker or machine. */
export const ANYWHERE = 'any'

/** Denied to a child besides our tools: work of its own, and questions that no user would see. */
const CHILD_DENIES = ['task', 'question']

/** Plans the work of an agent on another machine. */
interface MachinePlanner {
  plan(
    task: TreeTask,
    request: LaunchRequest,
  ): Promise<{ readonly place: MachinePlace; readonly worktree: Worktree }>
}

interface Ports {
  readonly catalogue: Catalogue
  /** The names of our tools, which no child gets. */
  readonly names: ToolNames
  readonly worktrees: () => Promise<WorktreeRuns>
  readonly machines: () => Promise<MachinePlanner>
  /** Whether an agent works in a worktree of its own by default. */
  readonly isIsolated: (agent: string) => boolean
  /** The budget of a task whose request has none. */
  readonly budget: Budget
  /** The allowed values of `where`, and those that mean the fleet. */
  readonly places: readonly string[]
  readonly fleetPlaces: readonly string[]
}

export function agentLaunch({
  catalogue,
  names,
  worktrees,
  machines,
  isIsolated,
  budget: usual,
  places,
  fleetPlaces,
}: Ports): KindLaunch<LaunchRequest, AgentWork> {
  return {
    kind: 'agent',

    check({ prompt, budget, where, worktree }) {
      refuseEmptyPrompt(prompt)
      refuseBadBudget(budget)
      if (where === undefined) return
      if (!places.includes(where))
        throw new ToolError(`where: must be one of ${places.join(', ')}. Nothing was started.`)
      if (worktree === false)
        throw new ToolError('where: an agent elsewhere always has a worktree. Omit worktree.')
    },

    async prepare(request, run, parent) {
      const [session, agent, primaryTools] = await Promise.all([
        parent,
        catalogue.agent(request.agent),
        catalogue.primaryTools(),
      ])
      const model = await modelFor(request, agent, session, catalogue)
      const task = { ...run, description: request.description }
      const { after = [], where } = request
      const isAtFleet = where !== undefined && fleetPlaces.includes(where)
      const onMachine =
        where === undefined || isAtFleet ? undefined : await (await machines()).plan(task, request)
      const isOwn = isAtFleet || (request.worktree ?? isIsolated(agent.name))
      const worktree = onMachine?.worktree ?? (isOwn ? await planned(task, worktrees, isAtFleet) : undefined)
      const place: Place | undefined = isAtFleet
        ? { type: 'fleet', labels: where === ANYWHERE ? [] : [where] }
        : onMachine?.place
      const budget = limitsOf(usual, request.budget)
      const work: AgentWork = {
        kind: 'agent',
        agent: agent.name,
        ...(model && { model }),
        ...(agent.steps !== undefined && { maxSteps: agent.steps }),
        prompt: request.prompt,
        promptIDs: [newPromptID(run, run.createdAt)],
        ...(budget && { budget }),
        ...(worktree && { worktree }),
        ...(place && { place }),
        ...(after.length > 0 && { after: [...new Set(after)] }),
      }
      const rules = childRules(session, [...Object.values(names), ...primaryTools])
      if (!worktree) return { work, permission: rules }
      return {
        work,
        permission: place ? rules : [...rules, keepsOut(worktree)],
        discard: async () => (await worktrees()).discard(worktree, task),
      }
    },
  }
}

async function modelFor(
  { model, variant }: LaunchRequest,
  agent: Agent,
  parent: Session,
  catalogue: Catalogue,
): Promise<TaskModel | undefined> {
  if (model !== undefined)
    return { ...(await catalogue.model(model)), ...(variant !== undefined && { variant }) }
  if (agent.model) return { ...agent.model, ...(agent.variant !== undefined && { variant: agent.variant }) }
  return modelOf(parent)
}

async function planned(
  task: TreeTask,
  worktrees: Ports['worktrees'],
  isElsewhere: boolean,
): Promise<Worktree> {
  try {
    return await (await worktrees()).plan(task, { isElsewhere })
  } catch (error) {
    throw new ToolError(
      isElsewhere
        ? `where: ${errorText(error)}. Nothing was started. Without where, the agent works here.`
        : `worktree: ${errorText(error)}. Nothing was started. With worktree: false, the agent works in your directory.`,
      'badArgument',
      { cause: error },
    )
  }
}

/** Denies edits of the parent's checkout: OpenCode names a file by its path from the top of the agent's own. */
export function keepsOut({ root, checkout }: Pick<Worktree, 'root' | 'checkout'>): PermissionRuleset[number] {
  return { permission: 'edit', pattern: `${relative(root, checkout)}/*`, action: 'deny' }
}

/**
 * Returns the permissions of a child. It inherits the parent's denials and directory rules, because a child
 * may do no more than its parent (contract 8.6). Tools are denied by name: a pattern matches others' tools.
 *
 * @param denied the tools to deny besides `CHILD_DENIES`
 */
export function childRules(
  { permission = [] }: Pick<Session, 'permission'>,
  denied: readonly string[],
): PermissionRuleset {
  const inherited = permission.filter(
    (rule) => rule.action === 'deny' || rule.permission === 'external_directory',
  )
  const own = [...CHILD_DENIES, ...denied].map((name) => ({
    permission: name,
    pattern: '*',
    action: 'deny' as const,
  }))
  return [...inherited, ...own]
}
