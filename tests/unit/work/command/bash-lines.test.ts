/** Lines of bash that the first parser refuses. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { bashCommandsOf } from '../../../../src/work/command/required-permissions/second-parser.ts'
import { findBash, takes } from '../../../../src/work/command/required-permissions/bash-check.ts'
import { commandsOf } from '../../../../src/work/command/required-permissions/command-line.ts'
import { ToolError } from '../../../../src/tool-error.ts'

const BASH = { shell: '/bin/bash', env: process.env }
/** An unknown shell disables the second parser. */
const FIRST = { shell: '/nonexistent', env: {} }

/** A line, and its simple commands. */
const LINES: readonly (readonly [line: string, ...commands: readonly string[]])[] = [
  // Here-documents, with text after the delimiter
  ["cat <<'E' 2>&1 | tail -1\nhi\nE", "cat <<'E' 2>&1 | tail -1\nhi\nE", 'tail -1'],
  ["cat <<'E' 2>&1 | tail -1 && rm x\nhi\nE", "cat <<'E' 2>&1 | tail -1 && rm x\nhi\nE", 'tail -1', 'rm x'],
  ['cat <<E; rm x\nhi\nE', 'cat <<E; rm x\nhi\nE', 'rm x'],
  ['cat <<E > a && rm x &\nhi\nE', 'cat <<E > a && rm x &\nhi\nE', 'rm x'],
  ['cat <<E &\nhi\nE\nrm x', 'cat <<E &\nhi\nE', 'rm x'],
  ['cat <<A <<B\na\nA\n$(rm x)\nB', 'cat <<A <<B\na\nA\n$(rm x)\nB', 'rm x'],
  ["cat <<'A' <<B; rm x\n$(a)\nA\n`rm y`\nB", "cat <<'A' <<B; rm x\n$(a)\nA\n`rm y`\nB", 'rm y', 'rm x'],
  ['if cat <<E | grep h; then rm x; fi\nhi\nE', 'cat <<E | grep h; then rm x; fi\nhi\nE', 'grep h', 'rm x'],
  ['cat <<-"E" > a; rm x\n\thi\n\tE', 'cat <<-"E" > a; rm x\n\thi\n\tE', 'rm x'],
  ['echo "$(cat <<E; rm x\nhi\nE\n)"', 'echo "$(cat <<E; rm x\nhi\nE\n)"', 'cat <<E; rm x\nhi\nE', 'rm x'],
  // Only redirections and assignments: the whole line needs a permission
  ['a=1 > x'],
  ['a=$(rm x) > y', 'rm x'],
  // Two subshells, and no arithmetic
  ['((rm x); ls)', 'rm x', 'ls'],
  // Patterns
  ['[[ $v == *.@(js|ts) ]] && rm x', 'rm x'],
  ['[[ $v == @($(rm x)|b) ]]', 'rm x'],
  ['shopt -s extglob\nrm -v !(a|b)', 'shopt -s extglob', 'rm -v !(a|b)'],
  // Substitutions
  ['echo ${ rm x; }', 'echo ${ rm x; }', 'rm x'],
]

test.each(LINES)('the first parser refuses %j, and the second one accepts it', async (line, ...commands) => {
  await expect(commandsOf(line, FIRST)).rejects.toThrow(ToolError)
  const taken = await commandsOf(line, BASH)
  expect(taken.commands.map(({ text }) => text)).toEqual(commands)
  expect(taken.shell).toBeUndefined()
})

/** Lines that both parsers accept. */
const BOTH: readonly (readonly [line: string, ...commands: readonly string[]])[] = [
  ['grep a <<< "$(rm x)"', 'grep a <<< "$(rm x)"', 'rm x'],
  ['while read -r l; do rm "$l"; done < <(ls)', 'read -r l', 'rm "$l"', 'ls'],
  ['coproc rm x', 'rm x'],
  ['coproc N { rm x; ls; }', 'rm x', 'ls'],
  ['select f in *; do rm "$f"; break; done', 'rm "$f"', 'break'],
  ['[[ $v =~ ^v([0-9]+)$(rm x)$ ]]', 'rm x'],
  ['case $x in a|b) rm x ;;& (*) ls ;& *) pwd; esac', 'rm x', 'ls', 'pwd'],
  ['for ((i = $(rm x); i < 2; i++)); do ls; done', 'rm x', 'ls'],
  ['echo $((a[$(rm x)] << 2)) {1..3} x{,.bak}', 'echo $((a[$(rm x)] << 2)) {1..3} x{,.bak}', 'rm x'],
  ["echo 'it'\\''s' $'a\\'b' $\"$(rm x)\"", "echo 'it'\\''s' $'a\\'b' $\"$(rm x)\"", 'rm x'],
  ['ls \\\n  -l # rm x\nrm y', 'ls \\\n  -l', 'rm y'],
  ['rm x &>> a; ls |& cat; pwd >| b', 'rm x &>> a', 'ls', 'cat', 'pwd >| b'],
  ['exec {fd}> a; rm x >&$fd', 'exec {fd}> a', 'rm x >&$fd'],
  ['2>&1 a=$(rm x) ls', '2>&1 a=$(rm x) ls', 'rm x'],
  ['time -p rm x', 'time -p rm x', 'rm x'],
  ['! time rm x', 'time rm x', 'rm x'],
  ['echo "`rm \\`ls\\``"', 'echo "`rm \\`ls\\``"', 'rm `ls`', 'ls'],
  [
    'echo ${a[$(rm x)]} ${b/$(ls)/$(pwd)} ${c:$(id)}',
    'echo ${a[$(rm x)]} ${b/$(ls)/$(pwd)} ${c:$(id)}',
    'rm x',
    'ls',
    'pwd',
    'id',
  ],
  ['a=([$(rm x)]=1 $(ls)) b[$(pwd)]+=2', 'rm x', 'ls', 'pwd'],
  ['export A="$(rm x)"; unset a; [ -n "$(ls)" ]', 'rm x', 'ls'],
]

test.each(BOTH)('the second parser finds every command of %j', (line, ...commands) => {
  expect(bashCommandsOf(line)?.map(({ text }) => text)).toEqual(commands)
})

test.each([
  // The parser does not report the text that it skips here.
  "a=(${x:-<(ls {a,b} &>>f &&\na=b rm x || ls 'a' >|f)} x)",
  'echo ${x:-<(rm {a,b} && ls)}',
  'a=(<(rm x))y ls',
  // Bash joins the lines first, so that "rm x" is no here-document.
  'cat <<A\n$(ls # \\\nls <<\\E\nrm x\nE\n)\nA',
  'echo `ls # \\\nls <<\\E\nrm x\nE\n`',
  // Not valid in bash
  'ls )',
  'a=(x && rm y)',
  'cat <<E\nrm x',
  'cat <<E\n',
  '@(',
  '${a b}',
  '('.repeat(10_000),
  'echo $('.repeat(2000) + ')'.repeat(2000),
])('the second parser refuses a line that its tree does not cover in full: %#', (line) => {
  expect(bashCommandsOf(line)).toBeUndefined()
})

test('the second parser handles a tree deeper than the call stack', () => {
  expect(bashCommandsOf(`echo $((${'1+'.repeat(9000)}$(rm x)))`)?.at(-1)?.text).toBe('rm x')
})

test.each([
  // After the syntax error in the first line, bash would run the others.
  'ls @(a|b) <<E; cat\nrm x\nE',
  'shopt -s extglob; ls @(a|b)',
])('%j is refused, because bash finds a syntax error in it', async (line) => {
  expect(bashCommandsOf(line)).toBeDefined()
  await expect(commandsOf(line, BASH)).rejects.toThrow('cannot be parsed as a shell command')
})

const world = mkdtempSync(join(tmpdir(), 'opencode-bash-'))
afterAll(() => rmSync(world, { recursive: true }))

test("a line that only bash accepts runs in bash, even if the user's shell is another", async () => {
  writeFileSync(join(world, 'bash'), '')
  expect(findBash({ shell: join(world, 'bash'), env: {} })).toBe(join(world, 'bash'))
  expect(await commandsOf('a=1 > x', { env: { PATH: '/bin' }, shell: '/bin/dash' })).toEqual({
    commands: [],
    shell: '/bin/bash',
  })
})

test('findBash searches PATH, and then the usual location', () => {
  chmodSync(join(world, 'bash'), 0o700)
  const found = findBash({ shell: '/bin/zsh', env: { PATH: `relative:/nonexistent:${world}` } })
  expect(found).toBe(join(world, 'bash'))
  expect(findBash({ shell: '/bin/zsh', env: {} })).toBe('/bin/bash')
})

test('bash does not replace a shell that may restrict the account', async () => {
  const restricted = { ...BASH, shell: '/bin/rbash' }
  expect(findBash(restricted)).toBeUndefined()
  await expect(commandsOf('a=1 > x', restricted)).rejects.toThrow(
    'This command line needs bash, and no bash was found to run it (the shell is /bin/rbash).',
  )
  await expect(commandsOf('ls )', restricted)).rejects.toThrow('cannot be parsed as a shell command')
})

test('a bash that cannot be started accepts no line', async () => {
  expect(await takes('/nonexistent', 'ls', {})).toBe(false)
  expect(await takes('/bin/bash', 'ls', {})).toBe(true)
})
