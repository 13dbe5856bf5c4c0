import { expect, test } from 'vitest'
import { exitHint } from '../../../src/command/exit-hint.ts'
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
  ['npm test || echo failed', 'echo failed'],
  ['npm test || true', 'true'],
  ['npm test; echo done', 'echo done'],
  ['npm test\necho done', 'echo done'],
])('the exit code 0 of %j is that of its last command alone', (command, last) => {
  expect(exitHint(ended(command))).toBe(`This is the exit code of "${last}" alone.`)
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
])('of %j it says all', (command) => {
  expect(exitHint(ended(command))).toBeUndefined()
})

test('a signal may have come from its own pkill', () => {
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
