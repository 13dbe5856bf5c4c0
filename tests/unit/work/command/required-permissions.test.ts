import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { bashCommandsOf } from '../../../../src/work/command/required-permissions/second-parser.ts'
import {
  claimsFor,
  claimsOf,
  type Claims,
  type Place,
} from '../../../../src/work/command/required-permissions/required-permissions.ts'
import { commandsOf } from '../../../../src/work/command/required-permissions/command-line.ts'
import { ToolError } from '../../../../src/tool-error.ts'

/** world/project is the worktree, and its folder `part` the directory; beside it a folder and a file. */
const world = mkdtempSync(join(tmpdir(), 'opencode-claims-'))
const worktree = join(world, 'project')
const directory = join(worktree, 'part')
mkdirSync(directory, { recursive: true })
mkdirSync(join(world, 'folder'))
writeFileSync(join(world, 'file'), '')
afterAll(() => rmSync(world, { recursive: true }))

const where = { cwd: directory, directory, worktree }

/** An unknown shell disables the second parser. */
const FIRST = { shell: '/nonexistent', env: {} }
const BASH = { shell: '/bin/bash', env: process.env }

/** Both parsers accept every line of the tables, and must agree on it. */
const PARSERS = {
  first: async (line: string, at: Place) => claimsFor((await commandsOf(line, FIRST)).commands, at),
  second: async (line: string, at: Place) => claimsFor(bashCommandsOf(line) ?? [], at),
}

/** Returns the permissions that a line needs, by each parser. */
async function byBoth(
  line: string,
  part: (claims: Claims) => readonly string[],
  at: Place = where,
): Promise<object> {
  const [first, second] = await Promise.all([PARSERS.first(line, at), PARSERS.second(line, at)])
  return { first: part(first), second: part(second) }
}

function both(texts: readonly string[]): object {
  return { first: texts, second: texts }
}

/** A line, and the patterns that it needs the permission `bash` for. */
const LINES: readonly (readonly [line: string, ...patterns: readonly string[]])[] = [
  // One command
  ['rm -rf x', 'rm -rf x'],
  ['  rm\tx  ', 'rm\tx'],
  ['"rm" x', '"rm" x'],
  ['FOO=1 rm x', 'FOO=1 rm x'],
  ['! rm x', 'rm x'],
  ['rm x # and nothing else; ls', 'rm x'],
  ['rm \\\n  x', 'rm \\\n  x'],
  // Several commands
  ['echo a; rm -rf x', 'echo a', 'rm -rf x'],
  ['echo a && rm x || ls', 'echo a', 'rm x', 'ls'],
  ['sleep 9 & rm x &', 'sleep 9', 'rm x'],
  ['ls\n\nrm x\n', 'ls', 'rm x'],
  ['ls | rm x |& tee y', 'ls', 'rm x', 'tee y'],
  ['rm x; ls; rm x', 'rm x', 'ls'],
  // Commands inside of others
  ['(ls; rm x)', 'ls', 'rm x'],
  ['{ ls; rm x; }', 'ls', 'rm x'],
  ['echo "$(rm x)" `rm y`', 'echo "$(rm x)" `rm y`', 'rm x', 'rm y'],
  ['echo ${a:-$(rm x)}', 'echo ${a:-$(rm x)}', 'rm x'],
  ['a=$(rm x)', 'rm x'],
  ['export A=$(rm x)', 'rm x'],
  ['[[ -n $(rm x) ]]', 'rm x'],
  ['diff <(rm x) >(cat)', 'diff <(rm x) >(cat)', 'rm x', 'cat'],
  ['if ls; then rm x; else pwd; fi', 'ls', 'rm x', 'pwd'],
  ['for f in a b; do rm "$f"; done', 'rm "$f"'],
  ['while read l; do rm $l; done < list', 'read l', 'rm $l'],
  ['case $x in a) rm x ;; esac', 'rm x'],
  ['f() { rm x; }; f', 'rm x', 'f'],
  ['cat <<EOF\n$(rm x)\nEOF\nls', 'cat <<EOF\n$(rm x)\nEOF', 'rm x', 'ls'],
  // Lines that only look like several commands
  ["echo 'a; rm x'", "echo 'a; rm x'"],
  ['echo a\\;rm x', 'echo a\\;rm x'],
  ["cat <<'EOF'\n$(rm x)\nEOF", "cat <<'EOF'\n$(rm x)\nEOF"],
  // Redirections belong to their command, unless they are those of several
  ['rm x 2>&1 > log; ls', 'rm x 2>&1 > log', 'ls'],
  ['ls | cat > log', 'ls', 'cat'],
  ['cat <<< hi', 'cat <<< hi'],
  // No command that needs the permission
  ['cd part'],
  ['a=1'],
  ['# a comment'],
  ['cd part && ls', 'ls'],
]

test.each(LINES)('%j needs a permission for each of its commands', async (line, ...patterns) => {
  expect(await byBoth(line, (claims) => claims.patterns)).toEqual(both(patterns))
})

/** A line, and the folders outside of the project that it needs a permission for. */
const PATHS: readonly (readonly [line: string, ...directories: readonly string[]])[] = [
  // A folder itself, and the parent folder of any other path
  [`cd ${world}/folder`, join(world, 'folder')],
  [`rm ${world}/file`, world],
  [`mkdir -p ${world}/nowhere/deep`, join(world, 'nowhere')],
  [`cp ${world}/file ${world}/folder`, world, join(world, 'folder')],
  [`rm ${world}/file ${world}/other`, world],
  ['cat /', '/'],
  // Paths as the shell reads them
  [`cat "${world}/folder/a b"`, join(world, 'folder')],
  [`cat '${world}/file'`, world],
  ['cat ../../file', world],
  ['cd ~', homedir()],
  ['touch ~/nothing-here', homedir()],
  [`rm ${world}/folder/*.txt`, join(world, 'folder')],
  [`rm ${world}/fold*/a`, world],
  [`echo $(cat ${world}/file)`, world],
  // Not paths
  ['rm -f/../../../file'],
  ['chmod +x/../../../file'],
  [`chmod +r ${world}/file`, world],
  [`ls ${world}`],
  [`echo a > ${world}/file`],
  // Paths that only the shell can resolve
  ['rm "$HOME/file" ${HOME}/file $(pwd)/../../../file `pwd`/../../../file'],
  ['rm * [ab]/../../../file "(a)/../../../file" "@(a)/../../../file"'],
  // Inside of the project
  ['rm a ../b ./c/d'],
  [`rm ${worktree}/a ${worktree} ${directory}`],
  ['rm ..name ../..name'],
]

/** Names each line without the temporary directory, so that test names are stable. */
const named = PATHS.map(([line, ...found]) => ({ name: line.replaceAll(world, 'W'), line, found }))

test.each(named)('each folder outside of the project needs a permission: $name', async ({ line, found }) => {
  const directories = await byBoth(line, (claims) => claims.directories)
  expect(directories).toEqual(both(found.map((path) => join(path, '*'))))
})

test('an "always" pattern keeps the subcommand, and allows any arguments', async () => {
  const line =
    'git push origin; git remote add x; npm run test; npm ci; docker compose up; aws s3 ls a; ls -l; ls'
  const always = [
    'git push *',
    'git remote add *',
    'npm run test *',
    'npm ci *',
    'docker compose up *',
    'aws s3 ls *',
    'ls *',
  ]
  expect(await byBoth(line, (claims) => claims.always)).toEqual(both(always))
})

test('a cwd outside of the project needs a permission, after those of the arguments', async () => {
  const directories = await byBoth('cat "" ~/a', (claims) => claims.directories, { ...where, cwd: world })
  expect(directories).toEqual(both([join(homedir(), '*'), join(world, '*')]))
})

test('a project without version control ends at its directory', async () => {
  const at = { cwd: directory, directory, worktree: '/' }
  const directories = await byBoth('cat ../a', (claims) => claims.directories, at)
  expect(directories).toEqual(both([join(worktree, '*')]))
})

const UNPARSABLE: readonly (readonly [line: string, why: string])[] = [
  ['rm "x', 'the error begins at "\\"x"'],
  ['ls )', 'the error begins at ")"'],
  ['(rm x', '")" is missing before its end'],
  ['ls &&', 'is missing before its end'],
  ['if ls; then rm x', 'the error begins at "if ls; then rm x"'],
  ['cat <<EOF\nrm x', 'the error begins at "\\nrm x"'],
  ['ls @(a|b)', 'the error begins at "@(a|b)"'],
]

test.each(UNPARSABLE)('%j is refused, and the error names the place of the mistake', async (line, why) => {
  const refusal = await claimsOf(line, where, BASH).catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(ToolError)
  expect(String(refusal)).toContain('cannot be parsed as a shell command: ')
  expect(String(refusal)).toContain(why)
  expect(String(refusal)).toContain('write it to a script file')
})

test.each(['', '  \n\t'])('the empty line %j is refused', async (line) => {
  await expect(claimsOf(line, where, BASH)).rejects.toThrow(
    new ToolError('The command line is empty. Say what to run.'),
  )
})

test('many concurrent lines each get their own permissions', async () => {
  const lines = Array.from({ length: 50 }, (_, index) => `echo ${index}; rm ${index}`)
  const all = await Promise.all(lines.map((line) => claimsOf(line, where, BASH)))
  expect(all.map(({ patterns }) => patterns.join('; '))).toEqual(lines)
})
