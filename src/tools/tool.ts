/**
 * The form of a tool: arguments in, data out, and a renderer that makes a text of the data. `callTool` parses the
 * arguments, because OpenCode checks none (contract 11.5), and unifies errors.
 */
import type { ToolContext, ToolDefinition, ToolResult } from '@opencode-ai/plugin'
import * as z from 'zod/mini'
import type { BackgroundManager } from '../manager.ts'
import { cutMiddle, leftOut } from '../text/format.ts'
import { HostError } from '../host/opencode.ts'
import { ends } from '../text/pages.ts'
import { sanitizeForModel, nameForModel } from '../text/sanitize.ts'
import type { Task } from '../task/task.ts'
import { englishLocale } from '../text/zod-locale.ts'
import { isToolError, ToolError, type ToolErrorCode } from '../tool-error.ts'
import type { ToolName } from '../tool-names.ts'
import type * as Answers from './render/answers.ts'
import type { Repeats } from './repeats.ts'
import type { Caller } from './tool-ports.ts'

/** The arguments of a tool, by name. */
export type ToolShape = z.core.$ZodShape

export interface Tool<Shape extends ToolShape, Data> {
  /** Without the option `toolPrefix`. */
  readonly name: ToolName
  readonly description: string
  readonly args: Shape
  /** An unknown argument of a tool that only reads is named beside its answer; the others refuse it. */
  readonly effect: 'reads' | 'starts' | 'ends'
  call(args: z.infer<z.ZodMiniObject<Shape>>, caller: Caller): Promise<Data>
  render(data: Data, answers: typeof Answers): ToolResult
}

/** The data of a call, and the answer that is rendered from it. */
interface Called<Data> {
  readonly data: Data
  readonly result: Exclude<ToolResult, string>
}

/**
 * Calls a tool. Rejects with a `ToolError` that tells the model what to do next.
 *
 * @param input the arguments as a model wrote them
 * @param once makes the call, unless it knows the data of an equal one
 */
export async function callTool<Shape extends ToolShape, Data>(
  manager: BackgroundManager,
  tool: Tool<Shape, Data>,
  input: unknown,
  caller: Caller,
  once: (args: object, call: () => Promise<Data>) => Promise<Data> = (_, call) => call(),
): Promise<Called<Data>> {
  try {
    // Loaded lazily, as the answers below.
    const { takeArguments } = await import('./arguments.ts')
    const { values, unknown, clashes } = takeArguments(input, tool.args)
    const parsed = z.object(tool.args).safeParse(values, englishLocale)
    const problems = [
      ...(tool.effect === 'reads' ? [] : unknown),
      ...clashes,
      ...(parsed.success ? [] : [problemsOf(parsed.error, values)]),
    ]
    if (!parsed.success || problems.length > 0)
      throw new ToolError(`${problems.join(' ')} Nothing was done. Correct the arguments and call again.`)
    // The model may name tasks from before a restart.
    await manager.recover(caller.sessionID)
    const data = await once(parsed.data, () => tool.call(parsed.data, caller))
    const answers = await import('./render/answers.ts')
    return { data, result: shown(withRemarks(tool.render(data, answers), unknown)) }
  } catch (error) {
    if (error instanceof HostError) throw refusal(`${error.message}. Try again.`, 'hostFailed')
    if (isToolError(error)) throw refusal(error.message, error.code)
    throw error
  }
}

/** Returns the definition of a tool for OpenCode. A repeated call of a tool that starts work does not start it twice. */
export function defineTool<Shape extends ToolShape, Data>(
  manager: BackgroundManager,
  tool: Tool<Shape, Data>,
  repeats: Repeats,
): ToolDefinition {
  const execute = async (input: unknown, context: ToolContext): Promise<ToolResult> => {
    const once = (args: object, call: () => Promise<Data>): Promise<Data> =>
      tool.effect === 'starts' ? repeats.once(tool.name, args, context, call) : call()
    return (await callTool(manager, tool, input, context, once)).result
  }
  // The host's types use a zod of their own; at run time it accepts any zod 4.
  return { description: tool.description, args: tool.args, execute } as unknown as ToolDefinition
}

/** Maximum bytes of a refusal, because it repeats the model's input, which may have any length. */
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

/** The minimum of a duration: models write a smaller number when they mean seconds. */
const LEAST_MS = 1000

/** A duration argument. */
export const MILLISECONDS = z.int().check(
  z.minimum(0),
  z.refine((ms) => ms === 0 || ms >= LEAST_MS, 'must be 0 or at least 1000: it is in milliseconds'),
)
/** The argument `offset` of each tool that has it. */
export const OFFSET = described(z.optional(z.int().check(z.minimum(0))), 'Byte of it to begin at')

/** A task's id as models write it: in capitals, in quotes, without the prefix. */
const LOOSE_ID = /^\W*(?:bg_)?([0-9a-f]{8})\W*$/i

/** Finds a task by its id or child session. Rejects with a `ToolError` if this session did not launch it. */
export async function ownTask(manager: BackgroundManager, given: string, sessionID: string): Promise<Task> {
  const [, digits] = LOOSE_ID.exec(given) ?? []
  const taskID = digits === undefined ? given : `bg_${digits.toLowerCase()}`
  const ownOf = (): Task | undefined => {
    const found = manager.get(taskID) ?? manager.findBySession(taskID)
    return found?.parentID === sessionID ? found : undefined
  }
  let task = ownOf()
  if (!task) {
    await manager.recover(sessionID, { again: true })
    task = ownOf()
  }
  if (task) return task
  const { refuseUnknownTask } = await import('./unknown-task.ts')
  return refuseUnknownTask(manager, taskID, sessionID)
}

function withRemarks(given: ToolResult, remarks: readonly string[]): Called<unknown>['result'] {
  const result = typeof given === 'string' ? { output: given } : given
  return { ...result, output: [result.output, ...remarks.map((remark) => `⚠️ ${remark}`)].join('\n') }
}

/** Below the host's limits of 51,200 bytes and 2000 lines, beyond which it cuts off the end (contract 11.7). */
const LONGEST_ANSWER = { bytes: 51_000, lines: 1990 }

/** Cleans an answer for the model, and cuts the middle of one that is too long. */
function bounded(text: string): string {
  return ends(sanitizeForModel(text), LONGEST_ANSWER, leftOut)
}

/** Cleans an answer for the model, and its title for clients. */
function shown(result: Called<unknown>['result']): Called<unknown>['result'] {
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
