/** The tools that the MCP server offers: those of the plugin, with a wait, and with structured content. */
import * as z from 'zod/mini'
import { toJSONSchema } from 'zod/v4/core'
import { formatDuration } from '../text/format.ts'
import { checkBackground } from '../tools/check-background.ts'
import { killBackground } from '../tools/kill-background.ts'
import { listBackground } from '../tools/list-background.ts'
import { runBackground } from '../tools/run-background.ts'
import {
  callTool,
  described,
  MILLISECONDS,
  ownTask,
  type Caller,
  type Tool,
  type ToolPorts,
  type ToolShape,
} from '../tools/tool.ts'
import { isEnded, isOpenEnded, type Task } from '../task/task.ts'
import type { Roots } from './roots.ts'
import {
  cancelJSON,
  cancelSchema,
  listJSON,
  listSchema,
  readJSON,
  readSchema,
  startedJSON,
  startedSchema,
} from './structure.ts'

/** The caller of a tool over MCP. */
export interface McpCaller extends Caller {
  readonly roots: Roots
  /** Reports the progress of a wait, in milliseconds. */
  readonly progress: (waitedMs: number, timeoutMs: number, message: string) => void
}

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
  /** The tasks that the answer reports, as they are. */
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

/** How a tool is offered: its title, its structured content, and what it does to the world. */
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

export function commandTools(ports: ToolPorts): readonly Offer[] {
  return [
    offer(ports, confined(runBackground(ports)), {
      title: 'Run a command in the background',
      schema: startedSchema,
      structure: startedJSON,
      tasksOf: ({ task }) => [task],
      annotations: RUNS,
    }),
    offer(ports, waiting(ports, checkBackground(ports)), {
      title: 'Read a background command',
      schema: readSchema,
      structure: readJSON,
      tasksOf: ({ report }) => [report.task],
      annotations: READS,
    }),
    offer(ports, anew(ports, listBackground(ports)), {
      title: 'List background tasks',
      schema: listSchema,
      structure: listJSON,
      tasksOf: () => [],
      annotations: READS,
    }),
    offer(ports, killBackground(ports), {
      title: 'Kill a background command',
      schema: cancelSchema,
      structure: cancelJSON,
      tasksOf: ({ tasks }) => tasks.map(({ task }) => task),
      annotations: ENDS,
    }),
  ]
}

function offer<Shape extends ToolShape, Data, Schema extends z.ZodMiniObject>(
  { manager }: ToolPorts,
  tool: Tool<Shape, Data>,
  { title, schema, structure, tasksOf, annotations }: Offering<Data, Schema>,
): Offer {
  const { name, description, args } = tool
  return {
    definition: {
      name: manager.toolNames[name],
      title,
      description,
      inputSchema: inputSchemaOf(args),
      outputSchema: toJSONSchema(schema) as JSONObjectSchema,
      annotations,
    },
    async call(input, caller) {
      const { data, result } = await callTool(manager, tool, input, caller)
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

/** A tool that starts commands only in the directories of the caller's roots. */
function confined<Shape extends ToolShape, Data>(tool: Tool<Shape, Data>): Tool<Shape, Data> {
  return {
    ...tool,
    async call(args, caller) {
      const { roots } = caller as McpCaller
      const { cwd = '.' } = args as { readonly cwd?: string }
      return tool.call({ ...args, cwd: await roots.confine(cwd) }, { ...caller, directory: roots.directory })
    },
  }
}

/** A tool that looks first what other servers of the root have launched. */
function anew<Shape extends ToolShape, Data>(
  { manager }: ToolPorts,
  tool: Tool<Shape, Data>,
): Tool<Shape, Data> {
  return {
    ...tool,
    async call(args, caller) {
      await manager.recover(caller.sessionID, { again: true })
      return tool.call(args, caller)
    },
  }
}

const WAIT = {
  wait: described(
    z.optional(z.boolean()),
    'Wait until it ends, a text of notify_on appears, or timeout passes',
  ),
  timeout: described(z._default(MILLISECONDS, 120_000), 'Of wait, in ms'),
}
/** Clients give up on a call that takes longer. */
const LONGEST_WAIT_MS = 600_000
const PROGRESS_MS = 5000

/** A tool that reads a task, after waiting for its end if it is asked to. */
function waiting<Shape extends ToolShape & { task_id: z.ZodMiniString }, Data>(
  { manager, now }: ToolPorts,
  tool: Tool<Shape, Data>,
): Tool<Shape & typeof WAIT, Data> {
  return {
    ...tool,
    args: { ...tool.args, ...WAIT },
    async call(args, caller) {
      const { wait, timeout, task_id } = args as {
        readonly task_id: string
        readonly wait?: boolean
        readonly timeout: number
      }
      if (wait && timeout > 0) {
        const { id } = await ownTask(manager, task_id, caller.sessionID)
        await waitFor(id, Math.min(timeout, LONGEST_WAIT_MS), caller as McpCaller)
      }
      return tool.call(args as never, caller)
    },
  }

  async function waitFor(taskID: string, timeoutMs: number, { abort, progress }: McpCaller): Promise<void> {
    const matched = new AbortController()
    const stopListening = manager.on((step, { id }) => {
      if (id === taskID && step.type === 'transition' && step.event === 'outputMatched') matched.abort()
    })
    const since = now()
    const timer = setInterval(() => {
      const task = manager.get(taskID)
      if (task)
        progress(now() - since, timeoutMs, `${taskID} is ${task.status}, ${formatDuration(now() - since)}`)
    }, PROGRESS_MS)
    try {
      const task = manager.get(taskID)
      if (task && !isEnded(task) && 'matched' in task) return
      await manager.waitForCompletion(taskID, { timeoutMs, signal: AbortSignal.any([abort, matched.signal]) })
    } finally {
      clearInterval(timer)
      stopListening()
    }
  }
}
