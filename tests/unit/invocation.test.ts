import { expect, test } from 'vitest'
import { isRun } from '../../src/invocation.ts'

test.for([
  'run hello',
  '--port 4096 run hello',
  '--port=4096 run hello',
  '--print-logs --log-level WARN run hello',
  '-m anthropic/claude --agent serve run hello',
  '--title run --dir web run serve',
  '--something-new run hello',
  '--something-new 5 run hello',
  'run --port 4096 -- -x',
])('R17: `opencode %s` is a run, whatever stands before', (line) => {
  expect(isRun(line.split(' '))).toBe(true)
})

test.for([
  '',
  'serve --port 4096',
  '--hostname run serve',
  'acp --cwd run',
  'web',
  'github run',
  '--agent run',
  '--mini',
  'some/folder',
])('R17: `opencode %s` is none', (line) => {
  expect(isRun(line.split(' '))).toBe(false)
})
