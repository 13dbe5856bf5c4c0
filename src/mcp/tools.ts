/** The tools that the MCP server offers: those of the plugin, with a wait, and with structured content. */
import * as z from 'zod/mini'
import { toJSONSchema } from 'zod/v4/core'
import { errorText } from '../host/opencode.ts'
import type { BackgroundManager } from '../manager.ts'
import { backgroundCancel, isForAll } from '../tools/background-cancel.ts'
import { backgroundOutput } from '../tools/background-output.ts'
import { backgroundTask } from '../tools/background-task.ts'
import { checkBackground } from '../tools/check-background.ts'
import { killBackground } from '../tools/kill-background.ts'
import { listBackground } from '../tools/list-background.ts'
import type { TaskList } from '../tools/render/list-text.ts'
import { runBackground } from '../tools/run-background.ts'
import { callTool, ownTask, type Tool, type ToolShape } from '../tools/tool.ts'
import { isOpenEnded, type Task } from '../task/task.ts'
import { isToolError } from '../tool-error.ts'
import {
  cancelJSON,
  cancelSchema,
  listJSON,
  listSchema,
  readJSON,
  readSchema,
  startedJSON,
} from './structured-content.ts'
import { waiting } from './wait.ts'
import type { McpCaller, Workplace } from './workplace.ts'

/** A tool in the terms of MCP. */
export interface Offer {
  readonly definition: {
    readonly name: string
    readonly title: string
    readonly description: string
    readonly inputSchema: JSONObjectSchema
    readonly outputSchema: JSONObjectSchema
    readonly annotations: Annotations
  }
  /** Rejects with a `ToolError`. */
  call(input: unknown, caller: McpCaller): Promise<Answer>
}

export interface Answer {
  readonly text: string
  readonly structured: Readonly<Record<string, unknown>>
  /** The tasks that the answer reports, in their current state. */
  readonly tasks: readonly Task[]
  /** The task that the call has started, if it will end by itself. */
  readonly started: Task | undefined
}

interface JSONObjectSchema {
  readonly [key: string]: unknown
  readonly type: 'object'
}

interface Annotations {
  readonly readOnlyHint: boolean
  readonly destructiveHint: boolean
  readonly idempotentHint: boolean
  readonly openWorldHint: boolean
}

/** The properties of a tool that only MCP has: title, structured content and annotations. */
interface Offering<Data, Schema extends z.ZodMiniObject> {
  readonly title: string
  readonly schema: Schema
  readonly structure: (data: Data) => z.infer<Schema>
  readonly tasksOf: (data: Data) => readonly Task[]
  readonly annotations: Annotations
}

const READS = { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false }
const RUNS = { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true }
const ENDS = { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false }

/**
 * Returns the tools for commands, and those for agents.
 *
 * @param agents absent without a running OpenCode
 */
export function offersOf(commands: Workplace, agents: Workplace | undefined): readonly Offer[] {
  return [
    offer(commands, confined(runBackground(commands)), {
      title: 'Run a command in the background',
      // The schema of a read, because the result of a task handle must match it, and that is a read of the ended task.
      schema: readSchema,
      structure: startedJSON,
      tasksOf: ({ task }) => [task],
      annotations: RUNS,
    }),
    offer(commands, routed(waiting('wait', checkBackground), commands, agents), {
      title: 'Read a background command',
      schema: readSchema,
      structure: readJSON,
      tasksOf: ({ report }) => [report.task],
      annotations: READS,
    }),
    offer(commands, listed(commands, agents), {
      title: 'List background tasks',
      schema: listSchema,
      structure: listJSON,
      tasksOf: () => [],
      annotations: READS,
    }),
    offer(commands, routed(killBackground, commands, agents), {
      title: 'Kill a background command',
      schema: cancelSchema,
      structure: cancelJSON,
      tasksOf: ({ tasks }) => tasks.map(({ task }) => task),
      annotations: ENDS,
    }),
    ...(agents ? agentOffers(commands, agents) : []),
  ]
}

function agentOffers(commands: Workplace, agents: Workplace): readonly Offer[] {
  return [
    offer(agents, routed(backgroundTask, agents, commands), {
      title: 'Hand work to an agent of OpenCode',
      schema: readSchema,
      structure: startedJSON,
      tasksOf: ({ task }) => [task],
      annotations: RUNS,
    }),
    offer(agents, routed(waiting('block', withoutNotices), agents, commands), {
      title: 'Read a background task',
      schema: readSchema,
      structure: readJSON,
      tasksOf: (answer) => ('report' in answer ? [answer.report.task] : []),
      annotations: READS,
    }),
    offer(agents, cancelling(agents, commands), {
      title: 'Stop background tasks',
      schema: cancelSchema,
      structure: cancelJSON,
      tasksOf: ({ tasks }) => tasks.map(({ task }) => task),
      annotations: ENDS,
    }),
  ]
}

function offer<Shape extends ToolShape, Data, Schema extends z.ZodMiniObject>(
  home: Workplace,
  tool: Tool<Shape, Data>,
  { title, schema, structure, tasksOf, annotations }: Offering<Data, Schema>,
): Offer {
  const { name, description, args } = tool
  return {
    definition: {
      name: home.manager.toolNames[name],
      title,
      description,
      inputSchema: inputSchemaOf(args),
      outputSchema: toJSONSchema(schema) as JSONObjectSchema,
      annotations,
    },
    async call(input, caller) {
      const attempt = async () => callTool(home.manager, tool, input, await callerAt(home, caller))
      const { data, result } = await attempt().catch((error: unknown) => {
        // A person has deleted the session in OpenCode: launch in a new one.
        if (!isToolError(error) || error.code !== 'unknownSession') throw error
        home.forgetParent(caller.client)
        return attempt()
      })
      const tasks = tasksOf(data)
      const [started] = tool.effect === 'starts' ? tasks.filter((task) => !isOpenEnded(task)) : []
      return { text: result.output, structured: structure(data), tasks, started }
    },
  }
}

function inputSchemaOf(args: ToolShape): JSONObjectSchema {
  const { $schema: _, ...schema } = toJSONSchema(z.object(args), { io: 'input' }) as JSONObjectSchema
  const properties = schema['properties'] as Record<string, object>
  // `described` sets a property of the argument, which the conversion does not read.
  const named = Object.entries(properties).map(([name, property]) => {
    const { description } = args[name] as unknown as { readonly description?: string }
    return [name, { ...property, ...(description !== undefined && { description }) }]
  })
  return { ...schema, properties: Object.fromEntries(named) as unknown }
}

/** Returns a tool that starts commands only in the directories of the caller's roots. */
function confined<Shape extends ToolShape, Data>(tool: Tool<Shape, Data>): Tool<Shape, Data> {
  return {
    ...tool,
    async call(args, caller) {
      const roots = await (caller as McpCaller).roots()
      const { cwd = '.' } = args as { readonly cwd?: string }
      return tool.call({ ...args, cwd: await roots.confine(cwd) }, { ...caller, directory: roots.directory })
    },
  }
}

/** Returns the caller with the session and the permission rules of a workplace. Rejects with a `HostError`. */
async function callerAt({ parentID, rules }: Workplace, caller: McpCaller): Promise<McpCaller> {
  return { ...caller, sessionID: await parentID(caller.client), ask: caller.askBy(rules) }
}

/** Returns a tool that reads, stops or prompts one task of either workplace. */
function routed<Shape extends ToolShape, Data>(
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

/** Returns the tool that reads a task, without the notices in its story, because an MCP client is owed none. */
function withoutNotices(workplace: Workplace): ReturnType<typeof backgroundOutput> {
  const tool = backgroundOutput(workplace)
  return {
    ...tool,
    async call(args, caller) {
      const answer = await tool.call(args, caller)
      if (!('story' in answer) || !answer.story) return answer
      const steps = answer.story.steps.filter(({ type }) => type !== 'notice')
      return { ...answer, story: { ...answer.story, steps } }
    },
  }
}

/** Returns the tool that stops one task, or all tasks of both workplaces. */
function cancelling(home: Workplace, other: Workplace) {
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
function listed(commands: Workplace, agents: Workplace | undefined) {
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
