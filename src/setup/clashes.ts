/**
 * Finds tools of others that have the name of one of ours: the host takes the last definition of a name, and says nothing
 * (seen). The hook `tool.definition` is called with every definition, so it shows those of other plugins and of tool
 * files. It is not called for tools of MCP servers, which win over all others: those are found when a call of one is
 * answered that ours did not execute.
 */
import type { ToolContext, ToolDefinition } from '../tools/tool.ts'

/** What the hook is given of a tool: the schema as the model will read it (seen; the host's types say less). */
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

/** One of these for each time that this plugin is loaded. */
interface Copy {
  isLoadedTwice: boolean
}

/** By this key of a definition two copies of this plugin find each other: hooks are called one after the other with it. */
const COPY = Symbol.for('opencode-background')

const REMEDY = 'the option toolPrefix renames ours'

export class Clashes {
  /** For the hook `tool`. */
  readonly tools: Readonly<Record<string, ToolDefinition>>
  readonly #report: (problem: string) => void
  readonly #copy: Copy = { isLoadedTwice: false }
  /** Whether the definition of a name that came first was ours. */
  readonly #isFirst = new Map<string, boolean>()
  /** The names of which it was reported that others have them. */
  readonly #shared = new Set<string>()
  /** The calls that ours have executed, until their answers pass by. */
  readonly #executed = new Set<string>()

  constructor(tools: Readonly<Record<string, ToolDefinition>>, report: (problem: string) => void) {
    this.#report = report
    this.tools = Object.fromEntries(Object.entries(tools).map(([name, tool]) => [name, this.#noting(tool)]))
  }

  /** To be called from the hook `tool.definition`. Returns whether the definition is one of ours. */
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

  /** To be called from the hook `tool.execute.after`. */
  observeAnswer(name: string, callID: string): void {
    if (!this.tools[name] || this.#executed.delete(callID) || this.#copy.isLoadedTwice) return
    this.#share(name, 'another tool of that name answered a call, as one of an MCP server may')
  }

  #noting(tool: ToolDefinition): ToolDefinition {
    const execute: ToolDefinition['execute'] = async (args, context: ToolContext & { callID?: string }) => {
      const { callID = '' } = context
      this.#executed.add(callID)
      try {
        return await tool.execute(args, context)
      } catch (error) {
        // No hook is called for an answer that is an error.
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

  /** The copy that comes later reports, since its tools are used. */
  #meetOtherCopy(definition: Definition & { [COPY]?: Copy }): void {
    const other = (definition[COPY] ??= this.#copy)
    if (other === this.#copy || this.#copy.isLoadedTwice) return
    other.isLoadedTwice = true
    this.#copy.isLoadedTwice = true
    this.#report('opencode-background is loaded twice: leave one entry of it under `plugin` in opencode.json')
  }
}

/** Another plugin may have rewritten the description, but hardly all that the arguments say. */
function isDefinitionOf(tool: ToolDefinition, { description, jsonSchema }: Definition): boolean {
  if (description === tool.description) return true
  const ours = Object.entries(tool.args as Readonly<Record<string, Argument>>)
  const theirs = jsonSchema?.properties ?? {}
  return (
    ours.length === Object.keys(theirs).length &&
    ours.every(([name, argument]) => theirs[name]?.description === argument.description)
  )
}
