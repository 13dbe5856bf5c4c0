/** Lines of bash that OpenCode's grammar cannot parse, or in which it misses commands, on the real OpenCode. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

/** Two commands and a here-document, whose expansion would run a third command. */
const LINE = "cat <<'E' 2>&1 | tail -1\nnot me\nthe last $(line)\nE"

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ config: { permission: { bash: { '*': 'allow', 'rm *': 'deny' } } } })
})
afterAll(() => stage.close())

async function run(parent: Parent, command: string): Promise<string> {
  const [answer = ''] = await parent.call([{ name: 'run_background', args: { command } }])
  return answer
}

test('R7: a here-document followed by redirections and a pipe runs', async () => {
  const parent = await stage.parent()
  const answer = await run(parent, LINE)
  expect(answer).toContain('**Background Task Started**')
  // The line runs in the user's own shell, which is bash.
  expect(answer).not.toContain('**Shell**')
  await parent.waitForNotice('<result>the last $(line)</result>')
})

test.each([
  ['behind a here-document', 'cat <<E; rm kept\nhi\nE'],
  ['in the text of a here-document', 'cat <<E 2>&1 | tail -1\n$(rm kept)\nE'],
  ['in a function that is called later', 'f() { rm kept; }; cat <<E; f\nhi\nE'],
  ['in backticks within backticks', 'cat <<E; echo `echo \\`rm kept\\``\nhi\nE'],
  ['in nested subshells', '((rm kept); ls)'],
  // OpenCode's grammar accepts these, and finds no `rm`.
  ['behind `time`', 'time rm kept'],
  ['behind `coproc`', 'coproc rm kept'],
  ['in the pattern of an expansion', 'echo ${PWD#$(rm kept)}'],
  ['in backticks in a here-document', 'cat <<E\n`rm kept`\nE'],
])('R7: a denied command is refused %s', async (_, command) => {
  const parent = await stage.parent()
  const kept = join(stage.server.directory, 'kept')
  writeFileSync(kept, '')
  const answer = await run(parent, command)
  expect(answer).not.toContain('**Background Task Started**')
  expect(answer).toContain('rm *')
  await parent.quiet()
  expect(existsSync(kept)).toBe(true)
})

test('R7: a line that bash rejects is refused, with the position of the mistake', async () => {
  const parent = await stage.parent()
  const answer = await run(parent, 'cat @(a|b) <<E; ls\nrm kept\nE')
  expect(answer).toContain('cannot be parsed as a shell command')
})

test('R7: a line of bash runs in bash when the user has another shell, and the answer says so', async () => {
  const other = await startStage({ env: { SHELL: '/bin/dash' } })
  try {
    const parent = await other.parent()
    expect(await run(parent, `${LINE}\necho $BASH`)).toMatch(/\*\*Shell\*\* \| `\S*\/bash`/)
    await parent.waitForNotice('/bash</result>')
    expect(await run(parent, 'echo "a shell: $BASH."')).not.toContain('**Shell**')
    await parent.waitForNotice('a shell: .')
    await parent.quiet()
  } finally {
    await other.close()
  }
})

test('R7: a line of bash is refused when the user has a restricted shell', async () => {
  const restricted = await startStage({ env: { SHELL: '/bin/rbash' } })
  try {
    const answer = await run(await restricted.parent(), LINE)
    expect(answer).toContain('no bash was found to run it (the shell is /bin/rbash)')
  } finally {
    await restricted.close()
  }
})
