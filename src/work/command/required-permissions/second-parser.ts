/**
 * Parses command lines again, with the whole syntax of bash, by unbash. unbash skips text that it does not
 * understand, so a tree alone proves nothing. A tree counts only if it accounts for each character: text of a
 * node outside its children is syntax of that node, and text without children begins no substitution.
 */
import {
  forEachChild,
  parse,
  type Assignment,
  type Command,
  type Pipeline,
  type SyntaxNode,
  type Word,
} from 'unbash'
import type { SimpleCommand } from './simple-command.ts'

type Kind = SyntaxNode['type']

/** Replaces a child in the text of its parent. No line contains this character. */
const CHILD = '\0'

/** Lists and compound commands, without blanks and comments. */
const LISTS = {
  Script: /^(?:\0;?)*$/,
  CompoundList: /^(?:\0;?)*$/,
  Statement: /^\0&?$/,
  AndOr: /^\0(?:(?:&&|\|\|)\0)*$/,
  Pipeline: /^\0+(?:\|&?\0)*$/,
  Redirected: /^\0+$/,
  Command: /^\0+$/,
  If: /^if\0;?then\0;?(?:\0;?)*(?:else\0;?)?fi$/,
  Elif: /^elif\0;?then\0;?$/,
  For: /^for\0(?:in\0*)?;?(?:do\0;?done|\{\0;?\})$/,
  Select: /^select\0(?:in\0*)?;?(?:do\0;?done|\{\0;?\})$/,
  ArithmeticFor: /^for\(\(\0?;\0?;\0?\)\);?(?:do\0;?done|\{\0;?\})$/,
  While: /^(?:while|until)\0;?do\0;?done$/,
  Case: /^case\0in(?:\0;?)*esac$/,
  CaseItem: /^\(?\0(?:\|\0)*\)\0;?(?:;;&?|;&)?$/,
  Function: /^(?:function)?\0(?:\(\))?\0$/,
  Coproc: /^coproc\0{1,2}$/,
  Subshell: /^\(\0;?\)$/,
  BraceGroup: /^\{\0;?\}$/,
  ArrayValue: /^\(\0*\)$/,
  CommandExpansion: /^(?:\$\(\0;?\)|`\0;?`|\$\{\|?\0;?\})$/,
  ProcessSubstitution: /^[<>]\(\0;?\)$/,
  ArithmeticCommandExpansion: /^(?:\$\(\0;?\)|`\0;?`|\$\{\|?\0;?\})$/,
} satisfies Partial<Record<Kind, RegExp>>

/** Tests, arithmetic and redirections, without blanks. */
const EXPRESSIONS = {
  TestCommand: /^\[\[\0\]\]$/,
  TestUnary: /^(?:-[a-zA-Z])?\0$/,
  TestBinary: /^\0(?:=~|==?|!=|<|>|-[a-z]{2})\0$/,
  TestLogical: /^\0(?:(?:&&|\|\|)\0)+$/,
  TestNot: /^\0+$/,
  TestGroup: /^\(\0\)$/,
  Negation: /^!$/,
  Time: /^time(?:-p)?(?:--)?$/,
  ArithmeticCommand: /^\(\(\0?\)\)$/,
  ArithmeticExpansion: /^\$(?:\(\(\0?\)\)|\[\0?\])$/,
  ArithmeticBinary: /^\0[-+*/%<>=!&|^,]{1,3}\0$/,
  ArithmeticUnary: /^(?:[-+!~]{1,2}\0|\0(?:\+\+|--))$/,
  ArithmeticTernary: /^\0\?\0:\0$/,
  ArithmeticGroup: /^\(\0\)$/,
  Redirect: /^\0?(?:<|>|>>|<>|<&|>&|>\||&>>?)\0$/,
  HereString: /^\0?<<<\0$/,
  HereDoc: /^\0?<<-?\0$/,
  FileDescriptor: /^\d+$/,
  FileDescriptorVariable: /^\{\w+(?:\[[^$`]*\])?\}$/,
} satisfies Partial<Record<Kind, RegExp>>

/** Begins no substitution, except after a backslash. */
const PLAIN = /^(?:\\.|\\$|[^\\`$]|\$(?![({[]))*$/s

/** Words and their parts, unchanged. */
const WORDS = {
  Word: PLAIN,
  Literal: PLAIN,
  Glob: PLAIN,
  ExtendedGlob: PLAIN,
  BraceExpansion: PLAIN,
  SimpleExpansion: PLAIN,
  ArithmeticWord: PLAIN,
  HereDocBody: PLAIN,
  SingleQuoted: /^'[^']*'$/,
  AnsiCQuoted: /^\$'(?:\\.|[^\\'])*'$/s,
  DoubleQuoted: /^"\0*"$/,
  LocaleString: /^\$"\0*"$/,
  HereDocDelimiter: /^[^\n]+$/,
  Assignment: /^\w+(?:\[\0\])?\+?=\0$/,
  ParameterExpansion: /^\$\{[!#]?(?:\w+|[@*#?$!-])(?:\[\0\])?\0?\}$/,
  Default: /^:?[-=+?]\0$/,
  Remove: /^(?:##?|%%?)\0$/,
  Replace: /^\/[/#%]?\0\/?\0$/,
  Slice: /^:\0(?::\0)?$/,
  CaseModification: /^(?:\^\^?|,,?)\0?$/,
  Transform: /^@\0$/,
  Names: /^[@*]$/,
  /** unbash did not understand it. */
  Unknown: /(?!)/,
} satisfies Partial<Record<Kind, RegExp>>

/** A later unbash that adds a kind of node requires an entry here: the type enforces it. */
const SYNTAX: Readonly<Record<Kind, RegExp>> = { ...LISTS, ...EXPRESSIONS, ...WORDS }

const COMMENT = /(?<=^|[\s;&|()])#.*/g

const QUOTES: ReadonlySet<Kind> = new Set(['DoubleQuoted', 'LocaleString', 'HereDocBody'])
/** Outside quotes, `<(` in these is a process substitution that should have been a child. */
const MAY_HIDE: ReadonlySet<Kind> = new Set(['Word', 'Literal', 'Glob', 'ExtendedGlob', 'BraceExpansion'])

/** No commands for the first parser, so that OpenCode requests no permission for them. */
const DECLARE = new Set(['declare', 'typeset', 'export', 'readonly', 'local', 'unset', 'unsetenv', '['])

/** A word that is one of these, or a number, is no plain argument for the first parser. */
const EXPANDED: ReadonlySet<Kind> = new Set([
  'AnsiCQuoted',
  'LocaleString',
  'SimpleExpansion',
  'ParameterExpansion',
  'CommandExpansion',
  'ArithmeticExpansion',
  'ProcessSubstitution',
])
const NUMBER = /^(?:-?(?:0x)?\d+(?:#[\w@]+)?|\{\d+\.\.\d+\})$/

interface Span {
  readonly pos: number
  readonly end: number
}

/** The text to which node positions refer: the line, or the code in backticks without its backslashes. */
interface Text {
  readonly source: string
  /** Here-documents with their closing lines: a body is outside the command that reads it. */
  readonly bodies: Span[]
}

interface Piece {
  readonly node: SyntaxNode
  readonly children: readonly SyntaxNode[]
  readonly text: Text
  /** Inside double quotes or a here-document, where `<(` is text. */
  readonly isQuoted: boolean
  /** Last in a list or pipeline, or negated: the first parser assigns its redirections to the whole. */
  readonly isLast: boolean
}

/**
 * Returns the simple commands of the line, in the form of `commandsOf`. `undefined` for a line that is not
 * bash, and if some commands may be missing. The caller must also check that bash accepts the line (`takes`).
 */
export function bashCommandsOf(line: string): readonly SimpleCommand[] | undefined {
  const pieces = piecesOf(line)
  return pieces.every(isAccountedFor) ? pieces.flatMap(commandsIn) : undefined
}

/** Returns all nodes, each before its children. Iterative: a tree may be deeper than the call stack. */
function piecesOf(line: string): readonly Piece[] {
  const pieces: Piece[] = []
  const open: Omit<Piece, 'children'>[] = [
    { node: parse(line), text: { source: line, bodies: [] }, isQuoted: false, isLast: false },
  ]
  for (let from = open.pop(); from; from = open.pop()) {
    const { node } = from
    const isDecoded = node.type === 'Script' && node.source !== undefined
    const text: Text = isDecoded ? { source: node.source, bodies: [] } : from.text
    if (node.type === 'HereDoc' && node.closing) {
      text.bodies.push({ pos: node.body.pos, end: node.closing.end })
    }
    const piece: Piece = {
      ...from,
      text,
      isQuoted: node.type !== 'Script' && (from.isQuoted || QUOTES.has(node.type)),
      children: childrenOf(node),
    }
    pieces.push(piece)
    for (const child of piece.children.toReversed()) {
      open.push({ node: child, text, isQuoted: piece.isQuoted, isLast: isLastOf(child, piece) })
    }
  }
  return pieces
}

function childrenOf(node: SyntaxNode): readonly SyntaxNode[] {
  const children: SyntaxNode[] = []
  forEachChild(node, (child) => children.push(child))
  // A quoted delimiter makes the body plain text.
  return node.type === 'HereDoc' && node.delimiter?.quoted
    ? children.filter((child) => child !== node.body)
    : children
}

function isLastOf(child: SyntaxNode, { node, isLast }: Piece): boolean {
  if (node.type !== 'AndOr' && node.type !== 'Pipeline') return false
  const isWhole =
    node.type === 'Pipeline' &&
    node.commands.length === 1 &&
    node.prefixes.every(({ type }) => type === 'Time')
  return isWhole ? isLast : child === node.commands.at(-1)
}

function isAccountedFor(piece: Piece): boolean {
  const { node, isQuoted } = piece
  if (node.type === 'Script' && node.errors?.length) return false
  if (node.type === 'HereDoc' && !node.closing) return false
  if (isJoinedFirst(piece)) return false
  const own = ownText(piece)
  if (own === undefined || !SYNTAX[node.type].test(own)) return false
  return isQuoted || !MAY_HIDE.has(node.type) || !/[<>]\(/.test(own)
}

/** Whether bash joins lines before it parses this code. unbash does not, so a comment may end too early. */
function isJoinedFirst({ node, children }: Piece): boolean {
  const isCode =
    (node.type === 'HereDocBody' && children.length > 0) ||
    (node.type === 'CommandExpansion' && node.text.startsWith('`'))
  return isCode && node.text.includes('\\\n')
}

/** Returns the text with `CHILD` for each child, without blanks of syntax; `undefined` if spans overlap. */
function ownText({ node, children, text: { source, bodies } }: Piece): string | undefined {
  if (node.type === 'CommandExpansion' && node.script?.source !== undefined) {
    return source.slice(node.pos, node.end).replace(/(?<=^`).*(?=`$)/s, CHILD)
  }
  const isWithin = ({ pos, end }: Span): boolean => pos >= node.pos && end <= node.end
  const holes = [
    ...children.filter(isWithin).map(({ pos, end }) => ({ pos, end, by: CHILD })),
    ...bodies.filter(isWithin).map(({ pos, end }) => ({ pos, end, by: '' })),
  ]
  let own = ''
  let at = node.pos
  for (const { pos, end, by } of holes.sort((a, b) => a.pos - b.pos)) {
    const isInChild = by === '' && end <= at
    if (isInChild) continue
    if (pos < at) return undefined
    own += source.slice(at, pos) + by
    at = end
  }
  own += source.slice(at, node.end)
  if (node.type in WORDS) return own
  const unbroken = own.replaceAll('\\\n', '')
  return (node.type in LISTS ? unbroken.replaceAll(COMMENT, '') : unbroken).replaceAll(/\s+/g, '')
}

function commandsIn({ node, text, isLast }: Piece): readonly SimpleCommand[] {
  if (node.type === 'Command') return simpleCommand(node, text, isLast)
  return node.type === 'Pipeline' ? timedCommand(node, text, isLast) : []
}

function simpleCommand(command: Command, { source }: Text, isLast: boolean): readonly SimpleCommand[] {
  const { name, prefix, suffix } = command
  if (!name || (prefix.length === 0 && DECLARE.has(name.text))) return []
  const words = suffix.filter((part) => part.type === 'Word' || part.type === 'Assignment')
  const { end } = isLast ? (words.at(-1) ?? name) : command
  const bodyEnds = [...prefix, ...suffix].flatMap((part) =>
    part.type === 'HereDoc' && part.closing && part.pos < end ? part.closing.end : [],
  )
  return [
    {
      text: source.slice(command.pos, Math.max(end, ...bodyEnds)),
      tokens: [name, ...words.filter(isPlain)].map((word) => source.slice(word.pos, word.end)),
    },
  ]
}

/** Returns the timed command as arguments of `time`, as the first parser and so the rules of users expect. */
function timedCommand(pipeline: Pipeline, text: Text, isLast: boolean): readonly SimpleCommand[] {
  const time = pipeline.prefixes.find(({ type }) => type === 'Time')
  const [first] = pipeline.commands
  if (!time || first?.type !== 'Command') return []
  const before = text.source.slice(time.pos, first.pos)
  return simpleCommand(first, text, isLast).map((timed) => ({
    text: before + timed.text,
    tokens: [...before.trim().split(/\s+/), ...timed.tokens],
  }))
}

function isPlain(word: Word | Assignment): boolean {
  if (word.type === 'Assignment' || word.parts?.length !== 1) return !NUMBER.test(word.text)
  return word.parts.every(({ type, text }) => !EXPANDED.has(type) && !NUMBER.test(text))
}
