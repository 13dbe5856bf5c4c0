/**
 * Detects tools of others that share a name with ours, because OpenCode uses the last definition of a name without a
 * warning (seen). The hook `tool.definition` receives the definitions of plugins and tool files, but none of MCP servers,
 * whose tools override all others: an answer to a call that our tool did not execute reveals those.
 */
import type { ToolContext, ToolDefinition } from '@opencode-ai/plugin'

/** A tool as the hook receives it, with the schema that the model will read (seen; OpenCode's types declare less). */
export interface Definition {
  readonly description: string
  jsonSchema?: {
    readonly $schema?: string
    readonly properties?: Readonly<Record<string, Argument>>
  }
}

interface Argument {
  readonly description?: string
}

/** One loaded copy of this plugin. */
interface Copy {
  isLoadedTwice: boolean
}

/** Key in a definition by which copies of this plugin detect each other: their hooks get the same object in turn. */
const COPY = Symbol.for('opencode-background')

const REMEDY = 'the option toolPrefix renames ours'

export class Clashes {
  /** For the hook `tool`. */
  readonly tools: Readonly<Record<string, ToolDefinition>>
  readonly #report: (problem: string) => void
  readonly #copy: Copy = { isLoadedTwice: false }
  /** By tool name: whether its first definition was ours. */
  readonly #isFirst = new Map<string, boolean>()
  /** Tool names whose clash was reported. */
  readonly #shared = new Set<string>()
  /** Ids of the calls that our tools have executed, until `tool.execute.after` receives them. */
  readonly #executed = new Set<string>()

  constructor(tools: Readonly<Record<string, ToolDefinition>>, report: (problem: string) => void) {
    this.#report = report
    this.tools = Object.fromEntries(Object.entries(tools).map(([name, tool]) => [name, this.#noting(tool)]))
  }

  /** Handles the hook `tool.definition`. Returns whether the definition is ours. */
  observeDefinition(name: string, definition: Definition): boolean {
    this.#meetOtherCopy(definition)
    const tool = this.tools[name]
    if (!tool) return false
    const isOurs = isDefinitionOf(tool, definition)
    const isFirst = this.#isFirst.get(name)
    if (isFirst === undefined) this.#isFirst.set(name, isOurs)
    if (!isOurs) {
      const winner = isFirst === true ? 'that one' : 'ours'
      this.#share(name, `another plugin or a tool file defines it too, and OpenCode uses ${winner}`)
    }
    return isOurs
  }

  /** Handles the hook `tool.execute.after`. */
  observeAnswer(name: string, callID: string): void {
    if (!this.tools[name] || this.#executed.delete(callID) || this.#copy.isLoadedTwice) return
    this.#share(name, 'another tool of that name answered a call, perhaps one of an MCP server')
  }

  #noting(tool: ToolDefinition): ToolDefinition {
    const execute: ToolDefinition['execute'] = async (args, context: ToolContext & { callID?: string }) => {
      const { callID = '' } = context
      this.#executed.add(callID)
      try {
        return await tool.execute(args, context)
      } catch (error) {
        // OpenCode does not call `tool.execute.after` for an error.
        this.#executed.delete(callID)
        throw error
      }
    }
    return { ...tool, execute }
  }

  #share(name: string, how: string): void {
    if (this.#shared.has(name)) return
    this.#shared.add(name)
    this.#report(`tool ${name}: ${how}; ${REMEDY}`)
  }

  /** Detects another copy of this plugin. The later one reports it, because OpenCode uses its tools. */
  #meetOtherCopy(definition: Definition & { [COPY]?: Copy }): void {
    const other = (definition[COPY] ??= this.#copy)
    if (other === this.#copy || this.#copy.isLoadedTwice) return
    other.isLoadedTwice = true
    this.#copy.isLoadedTwice = true
    this.#report('opencode-background is loaded twice: leave one entry of it under `plugin` in opencode.json')
  }
}

/** Whether a definition is ours. Another plugin may rewrite its description, but hardly those of all arguments. */
function isDefinitionOf(tool: ToolDefinition, { description, jsonSchema }: Definition): boolean {
  if (description === tool.description) return true
  const ours = Object.entries(tool.args as Readonly<Record<string, Argument>>)
  const theirs = jsonSchema?.properties ?? {}
  return (
    ours.length === Object.keys(theirs).length &&
    ours.every(([name, argument]) => theirs[name]?.description === argument.description)
  )
}
