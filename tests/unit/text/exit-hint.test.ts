import { expect, test } from 'vitest'
import { exitHint, mayWatch } from '../../../src/text/exit-hint.ts'
import type { CommandTask, EndedTask } from '../../../src/task/task.ts'

const base = {
  id: 'bg_1a2b3c4d',
  kind: 'command',
  run: 1,
  sessionID: 'ses_command',
  parentID: 'ses_parent',
  description: '',
  cwd: '/',
  timeoutMs: 0,
  notifyOn: [],
  createdAt: 0,
  endedAt: 1,
  usage: { toolCalls: 0, tokens: 0, cost: 0 },
} as const

function ended(command: string): CommandTask & EndedTask {
  return { ...base, command, status: 'completed', exit: { type: 'exited', code: 0 } }
}

function killed(command: string): CommandTask & EndedTask {
  const failure = { reason: 'exit', message: 'ended by SIGTERM' } as const
  return { ...base, command, status: 'failed', failure, exit: { type: 'killed', signal: 'SIGTERM' } }
}

test.each([
  ['npm test 2>&1 | tail -5', 'tail -5'],
  ['make |& tee build.log\n', 'tee build.log'],
  ['cargo build | grep "error: x"', 'grep "error: x"'],
  ['git log|head', 'head'],
  ['cd app && npm test | tail -5', 'tail -5'],
  ['set -e; npm test | tail -5', 'tail -5'],
  ['cd app || exit 1; npm test | tail -5', 'tail -5'],
  ['npm test |\n  tail -5', 'tail -5'],
  ['npm test; echo done', 'echo done'],
  ['npm test\necho done', 'echo done'],
  ['npm test -- "a; b" \\\n  --run; echo "all  done"', 'echo "all done"'],
  ['# first\nnpm test\necho done', 'echo done'],
  ['set -x; npm test; echo done', 'echo done'],
  ['docker exec app npm test; echo done', 'echo done'],
])('the exit code 0 of %j is that of its last command alone', (command, last) => {
  expect(exitHint(ended(command))).toBe(`This is the exit code of "${last}" alone.`)
})

test.each([
  ['npm test || echo failed', 'echo failed'],
  ['npm test || true', 'true'],
  ['npm run a; npm test ||\n  true', 'true'],
])('the exit code 0 of %j proves nothing, because "||" makes it 0 in any case', (command, last) => {
  expect(exitHint(ended(command))).toBe(`The exit code is always 0, because of "|| ${last}".`)
})

test.each([
  'set -e; true; echo passed',
  'set -x -eu\nnpm test\necho passed',
  'set -o errexit\nnpm test\necho passed',
  'setopt ERR_EXIT; npm test; echo passed',
  'set -e; npm run a; npm test || true',
  'npm test || exit 1; echo ok',
  'npm test || { echo no; exit 1; }; echo ok',
  'if ! npm test; then exit 1; fi; echo ok',
  'npm test || return; echo ok',
  "trap 'exit 1' ERR; npm test; echo ok",
  'exec npm test; echo ok',
  'true && echo PASS || echo FAIL',
  'npm test &&\n echo PASS ||\n echo FAIL',
  'npm test || npm run again | tail',
  'npm test &&\necho done',
  'npm test \\\n echo done',
  'npm test # and then; echo done',
  'git commit -m "a; echo \'b c"',
  'echo a >| cat',
  "# don't\nnpm test || exit 1\n# can't\necho ok",
])('exitHint gives no hint that could be false for %j', (command) => {
  expect(exitHint(ended(command))).toBeUndefined()
})

test.each([
  'watch -n1 ls',
  'npm run watch',
  'npm run test:watch',
  'npm run watch:css',
  'vitest --watch',
  'tsc --watch=true',
  'jest --watchAll',
  'concurrently "esbuild a.js --watch" "npm run watch"',
])('%j may be a watcher', (command) => {
  expect(mayWatch(command)).toBe(true)
})

test.each([
  'git log -- src/watch.ts',
  'vitest --watch=false',
  'vitest --watch false',
  'vitest --no-watch',
  'npm run build:no-watch',
  'node watch.js',
])('%j is no watcher', (command) => {
  expect(mayWatch(command)).toBe(false)
})

test.each([
  'npm test',
  'npm test && echo done',
  'set -o pipefail; npm test | tail -5',
  'npm test | tail -5; exit ${PIPESTATUS[0]}',
  'npm test; echo "exit $?"',
  'psql | my-tool',
  'git commit -m "a | tail of it"',
  "echo 'x; echo y'",
  '(npm test | tail -5) && npm run build',
  'echo hello',
  'cat file',
])('the exit code of %j needs no hint', (command) => {
  expect(exitHint(ended(command))).toBeUndefined()
})

test('a signal gets a hint only if pkill -f in the line may have matched its own shell', () => {
  expect(exitHint(killed('make'))).toBeUndefined()
  expect(exitHint(killed('pkill -f "vite dev"; npm run dev'))).toBe('pkill -f matches its own shell.')
})

test('a failure with an exit code, a timeout and a cancelled command need no hint', () => {
  const { exit: _exit, ...rest } = killed('make | tail')
  const failure = { reason: 'timeout', message: '' } as const
  expect(exitHint({ ...rest, exit: { type: 'exited', code: 1 } })).toBeUndefined()
  expect(exitHint({ ...killed('make'), status: 'failed', failure })).toBeUndefined()
  expect(exitHint({ ...base, command: 'make', status: 'cancelled', by: 'parent' })).toBeUndefined()
})
