/**
 * Determines the permissions that a command line requires. Each rule is one of OpenCode's own `bash`, so that
 * a user's rules deny the same here as there; tests/e2e/command-claims.test.ts compares the two.
 */
import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { lastingPattern } from './arity.ts'
import { commandsOf } from './command-line.ts'
import type { SimpleCommand } from './simple-command.ts'
import type { Surroundings } from '../this-machine.ts'

export interface Claims {
  /** Patterns for the permission `bash`, one for each simple command except a change of directory. */
  readonly patterns: readonly string[]
  /** Patterns that the user may allow for ever. */
  readonly always: readonly string[]
  /** Patterns for `external_directory`, `<directory>/*`: requested first, allowed for ever as they are. */
  readonly directories: readonly string[]
  /** The path of the shell that must run the line; absent if it is the user's own. */
  readonly shell?: string
}

/** Absolute paths. */
export interface Place {
  /** The working directory of the line. */
  readonly cwd: string
  readonly directory: string
  /** `/` if there is none. */
  readonly worktree: string
}

const CHANGES_DIRECTORY = new Set(['cd', 'chdir', 'popd', 'pushd'])
const TAKES_PATHS = new Set([
  ...CHANGES_DIRECTORY,
  'rm',
  'cp',
  'mv',
  'mkdir',
  'touch',
  'chmod',
  'chown',
  'cat',
])

/** Rejects with a `ToolError` for a line that is empty or cannot be parsed. */
export async function claimsOf(line: string, where: Place, machine: Surroundings): Promise<Claims> {
  const { commands, ...shell } = await commandsOf(line, machine)
  return { ...(await claimsFor(commands, where)), ...shell }
}

/** Returns the permissions that these commands require. */
export async function claimsFor(commands: readonly SimpleCommand[], where: Place): Promise<Claims> {
  const named = commands.filter(({ tokens: [name] }) => name !== undefined && !CHANGES_DIRECTORY.has(name))
  const outside = commands
    .flatMap(({ tokens }) => pathsOf(tokens, where.cwd))
    .filter((path) => !isInProject(path, where))
  const directories = await Promise.all(
    outside.map(async (path) => ((await isDirectory(path)) ? path : dirname(path))),
  )
  if (!isInProject(where.cwd, where)) directories.push(where.cwd)
  return {
    patterns: unique(named.map(({ text }) => text)),
    always: unique(named.map(({ tokens }) => lastingPattern(tokens))),
    directories: unique(directories.map((path) => join(path, '*'))),
  }
}

/** Returns the paths among a command's arguments, as far as they are known without running it. */
function pathsOf([name = '', ...args]: readonly string[], cwd: string): readonly string[] {
  if (!TAKES_PATHS.has(name)) return []
  return args
    .filter((arg) => !arg.startsWith('-') && !(name === 'chmod' && arg.startsWith('+')))
    .map((arg) => beforeGlob(expandHome(unquoted(arg))))
    .filter((path) => path !== '' && !/^@?\(|[$`]/.test(path))
    .map((path) => resolve(cwd, path))
}

function unquoted(text: string): string {
  return /^(["']).*\1$/s.test(text) ? text.slice(1, -1) : text
}

function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(2)) : path
}

function beforeGlob(path: string): string {
  return path.replace(/[?*[].*/s, '')
}

function isInProject(path: string, { directory, worktree }: Place): boolean {
  return contains(directory, path) || (worktree !== '/' && contains(worktree, path))
}

function contains(directory: string, path: string): boolean {
  const way = relative(directory, path)
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
}

function unique(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)]
}
