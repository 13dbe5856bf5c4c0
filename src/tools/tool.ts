/** Defines a tool: parses its arguments, because the host checks none (contract 11.5), and unifies errors. */
import type { ToolContext, ToolDefinition, ToolResult } from '@opencode-ai/plugin'
import * as z from 'zod/mini'
import type { BackgroundManager, OthersTask } from '../manager.ts'
import { cutMiddle, leftOut } from '../text/format.ts'
import { HostError } from '../host/opencode.ts'
import { ends } from '../text/pages.ts'
import { sanitizeForModel, nameForModel } from '../text/sanitize.ts'
import type { Task } from '../task/task.ts'
import { englishLocale } from '../text/zod-locale.ts'
import { ToolError, type ToolErrorCode } from '../tool-error.ts'
import { takeArguments } from './arguments.ts'
import type { Repeats } from './repeats.ts'

export type { ToolContext, ToolDefinition, ToolResult } from '@opencode-ai/plugin'

interface ToolSource<Shape extends z.core.$ZodShape> {
  readonly description: string
  readonly args: Shape
  /** Whether the tool only reads: an unknown argument is then named beside its answer, not refused. */
  readonly looksOnly?: boolean
  /** Set for a tool that starts work, because a repeated call must not start it twice. */
  readonly starts?: { readonly name: string; readonly repeats: Repeats }
  execute(args: z.infer<z.ZodMiniObject<Shape>>, context: ToolContext): Promise<ToolResult>
}

export function defineTool<Shape extends z.core.$ZodShape>(
  manager: BackgroundManager,
  source: ToolSource<Shape>,
): ToolDefinition {
  const schema = z.object(source.args)
  const execute = async (input: unknown, context: ToolContext): Promise<ToolResult> => {
    try {
      const { values, unknown, clashes } = takeArguments(input, source.args)
      const parsed = schema.safeParse(values, englishLocale)
      const problems = [
        ...(source.looksOnly ? [] : unknown),
        ...clashes,
        ...(parsed.success ? [] : [problemsOf(parsed.error, values)]),
      ]
      if (!parsed.success || problems.length > 0)
        throw new ToolError(`${problems.join(' ')} Nothing was done. Correct the arguments and call again.`)
      // The model may name tasks from before a restart.
      await manager.recover(context.sessionID)
      const work = (): Promise<ToolResult> => source.execute(parsed.data, context)
      const { name, repeats } = source.starts ?? {}
      const result = await (repeats ? repeats.once(`${name}`, parsed.data, context, work) : work())
      return shown(withRemarks(result, unknown))
    } catch (error) {
      if (error instanceof HostError) throw refusal(`${error.message}. Try again.`, 'hostFailed')
      if (error instanceof ToolError) throw refusal(error.message, error.code)
      throw error
    }
  }
  // The host's types use a zod of their own; at run time it accepts any zod 4.
  return { description: source.description, args: source.args, execute } as unknown as ToolDefinition
}

/** In bytes. A message repeats the model's input, as a path or a name, which may have any length. */
const LONGEST_REFUSAL = 2000

function refusal(message: string, code: ToolErrorCode): ToolError {
  return new ToolError(cutMiddle(sanitizeForModel(message), LONGEST_REFUSAL, leftOut), code)
}

/**
 * Returns an argument with its description, which the host reads from a property of this name (seen): schemas
 * of `zod/mini` do not have it.
 */
export function described<Schema extends z.ZodMiniType>(schema: Schema, description: string): Schema {
  return Object.assign(schema.clone(), { description })
}

/** Models mean a smaller number as seconds. */
const LEAST_MS = 1000

/** A duration argument. */
export const MILLISECONDS = z.int().check(
  z.minimum(0),
  z.refine((ms) => ms === 0 || ms >= LEAST_MS, 'must be 0 or at least 1000: it is in milliseconds'),
)
/** How many tasks a refusal names. */
const NAMED = 20

/** A task's id as models write it: in capitals, in quotes, without the prefix. */
const LOOSE_ID = /^\W*(?:bg_)?([0-9a-f]{8})\W*$/i

/** Finds a task by its id or child session. Rejects with a `ToolError` if this session did not launch it. */
export async function ownTask(manager: BackgroundManager, given: string, sessionID: string): Promise<Task> {
  const [, digits] = LOOSE_ID.exec(given) ?? []
  const taskID = digits === undefined ? given : `bg_${digits.toLowerCase()}`
  const task = manager.get(taskID) ?? manager.findBySession(taskID)
  if (task?.parentID === sessionID) return task
  const other = manager.others(sessionID).find((each) => each.task.id === taskID)
  if (other) throw new ToolError(`Task "${taskID}" is run by ${processText(other)}, which reports its end.`)
  const origin = await manager.forkedFrom(sessionID, taskID)
  if (origin !== undefined) {
    throw new ToolError(
      `Task "${taskID}" belongs to the session that this one was forked from (${origin}), and its notice goes there. ` +
        'Start a new one here.',
    )
  }
  const known = manager.list(sessionID).map(({ id }) => id)
  const newest = known.slice(-NAMED)
  const older = known.length > NAMED ? `, and ${known.length - NAMED} older ones` : ''
  const hint =
    known.length === 0 ? 'This session has launched none.' : `Known here: ${newest.join(', ')}${older}.`
  throw new ToolError(`Task "${taskID}" not found. ${hint}`)
}

/** Names the other process that runs a task. */
export function processText({ owner }: OthersTask): string {
  return `another OpenCode process (pid ${owner.pid} on ${owner.host})`
}

function withRemarks(result: ToolResult, remarks: readonly string[]): ToolResult {
  if (remarks.length === 0) return result
  const lines = remarks.map((remark) => `\n⚠️ ${remark}`).join('')
  return typeof result === 'string' ? result + lines : { ...result, output: result.output + lines }
}

/** Below the host's limits of 51,200 bytes and 2000 lines, beyond which it cuts off the end (contract 11.7). */
const LONGEST_ANSWER = { bytes: 51_000, lines: 1990 }

/** Cleans an answer for the model, and cuts the middle of one that is too long. */
function bounded(text: string): string {
  return ends(sanitizeForModel(text), LONGEST_ANSWER, leftOut)
}

/** Cleans an answer for the model, and its title for clients. */
function shown(result: ToolResult): ToolResult {
  if (typeof result === 'string') return bounded(result)
  const { title } = result
  return {
    ...result,
    output: bounded(result.output),
    ...(title !== undefined && { title: nameForModel(title) }),
  }
}

function problemsOf(error: z.core.$ZodError, values: Readonly<Record<string, unknown>>): string {
  return error.issues
    .map(({ path, message }) => `${path.join('.') || 'arguments'}: ${problemOf(path, message, values)}.`)
    .join(' ')
}

function problemOf(
  [name, ...inside]: readonly PropertyKey[],
  message: string,
  values: Readonly<Record<PropertyKey, unknown>>,
): string {
  if (name === undefined || inside.length > 0) return message
  if (values[name] === undefined) return 'must not be empty'
  if (!Array.isArray(values[name])) return message
  return `must be one value, not a list${name === 'task_id' ? ': make a call for each' : ''}`
}
