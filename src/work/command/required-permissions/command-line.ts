/**
 * Parses a command line with the grammar of OpenCode's own `bash`, tree-sitter-bash 0.25.0. The parser is
 * loaded from its own files at the first line, and retained for all later lines. The grammar does not cover
 * all of bash: it refuses lines that a second parser may accept, and misses commands in others.
 */
import type * as TreeSitter from '@vscode/tree-sitter-wasm'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ToolError } from '../../../tool-error.ts'
import { bashCommandsOf } from './second-parser.ts'
import { findBash, takes } from './bash-check.ts'
import type { SimpleCommand } from './simple-command.ts'
import type { Surroundings } from '../this-machine.ts'

export interface CommandLine {
  readonly commands: readonly SimpleCommand[]
  /** The path of the shell that must run the line; absent if it is the user's own. */
  readonly shell?: string
}

const TOKENS = new Set(['command_name', 'word', 'string', 'raw_string', 'concatenation'])
const SHOWN_OF_A_MISTAKE = 60

/**
 * Returns every simple command of the line, also in lists, pipes, groups, loops, functions and substitutions.
 * Rejects with a `ToolError` for a line that is empty or cannot be parsed in full, because an unparsed part
 * could contain a command without a permission request.
 */
export async function commandsOf(line: string, machine: Surroundings): Promise<CommandLine> {
  if (line.trim() === '') throw new ToolError('The command line is empty. Say what to run.')
  const byGrammar = commandsByGrammar(await parser(), line)
  const byBash = bashCommandsOf(line)
  if (byGrammar instanceof ToolError) return inBash(line, byBash, machine, byGrammar)
  return { commands: [...byGrammar, ...(byBash ?? []).filter(isMissingIn(byGrammar))] }
}

/** The grammar parses `coproc rm x` as a command `coproc`, and finds no command in `${a#$(rm x)}`. */
function isMissingIn(commands: readonly SimpleCommand[]): (command: SimpleCommand) => boolean {
  const key = ({ tokens }: SimpleCommand): string => tokens.join('\0')
  const known = new Set(commands.map(key))
  return (command) => !known.has(key(command))
}

/** Accepts the line for bash if the second parser and a bash do. Otherwise rejects with a `ToolError`. */
async function inBash(
  line: string,
  commands: readonly SimpleCommand[] | undefined,
  machine: Surroundings,
  refusal: ToolError,
): Promise<CommandLine> {
  if (!commands) throw refusal
  const bash = findBash(machine)
  if (bash === undefined) {
    throw new ToolError(
      `This command line needs bash, and no bash was found to run it (the shell is ${machine.shell}). Rewrite it in POSIX syntax.`,
    )
  }
  if (!(await takes(bash, line, machine.env))) throw refusal
  return bash === machine.shell ? { commands } : { commands, shell: bash }
}

function commandsByGrammar(grammar: TreeSitter.Parser, line: string): readonly SimpleCommand[] | ToolError {
  const tree = grammar.parse(line)
  if (tree === null) throw new Error('The parser of command lines returned no tree')
  try {
    const root = tree.rootNode
    if (root.hasError) return unparsable(line, root)
    return present(root.descendantsOfType('command')).map((node) => ({
      text: (node.parent?.type === 'redirected_statement' ? node.parent : node).text.trim(),
      tokens: present(node.children)
        .filter(({ type }) => TOKENS.has(type))
        .map(({ text }) => text),
    }))
  } finally {
    tree.delete()
  }
}

let loading: Promise<TreeSitter.Parser> | undefined

/** Returns the one parser of the process: it has no state between lines, and never frees its memory. */
function parser(): Promise<TreeSitter.Parser> {
  loading ??= load().catch((error: unknown) => {
    loading = undefined
    throw error
  })
  return loading
}

async function load(): Promise<TreeSitter.Parser> {
  const require = createRequire(import.meta.url)
  // The build puts the package's files beside the bundle.
  const script = import.meta.url.endsWith('.ts')
    ? require.resolve('@vscode/tree-sitter-wasm')
    : fileURLToPath(new URL('tree-sitter/tree-sitter.cjs', import.meta.url))
  const { Language, Parser } = require(script) as typeof TreeSitter
  await Parser.init()
  return new Parser().setLanguage(await Language.load(join(dirname(script), 'tree-sitter-bash.wasm')))
}

function unparsable(line: string, root: TreeSitter.Node): ToolError {
  let node = root
  for (;;) {
    const inner = present(node.children).find((child) => child.hasError)
    if (inner === undefined) break
    node = inner
  }
  const where =
    node.startIndex === line.length
      ? 'its end'
      : JSON.stringify(line.slice(node.startIndex, node.startIndex + SHOWN_OF_A_MISTAKE))
  const what = node.isMissing ? `"${node.type}" is missing before ${where}` : `the error begins at ${where}`
  return new ToolError(
    `The command line cannot be parsed as a shell command: ${what}. Correct it, or write it to a script file and run that.`,
  )
}

/** Drops null nodes, which the types of the parser allow. */
function present(nodes: readonly (TreeSitter.Node | null)[]): readonly TreeSitter.Node[] {
  return nodes.filter((node) => node !== null)
}
