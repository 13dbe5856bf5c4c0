/** A tool in the terms of MCP: its schemas, its structured content and its annotations. */
import * as z from 'zod/mini'
import { toJSONSchema } from 'zod/v4/core'
import { callTool, type Tool, type ToolShape } from '../tools/tool.ts'
import { isOpenEnded, type Task } from '../task/task.ts'
import { isToolError } from '../tool-error.ts'
import { callerAt, type McpCaller, type Workplace } from './workplace.ts'

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

export function offer<Shape extends ToolShape, Data, Schema extends z.ZodMiniObject>(
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
