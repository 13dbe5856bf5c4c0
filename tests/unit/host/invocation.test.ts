import { expect, test } from 'vitest'
import { isRun } from '../../../src/host/invocation.ts'

test.for([
  'run hello',
  '--port 4096 run hello',
  '--port=4096 run hello',
  '--print-logs --log-level WARN run hello',
  '-m anthropic/claude --agent serve run hello',
  '--title run --dir web run serve',
  '--cors web run hello',
  '--mdns-domain pr run hello',
  '--mdns web run hello',
  '--print-logs --pure run hello',
  '--pure true run hello',
  '--no-replay run hello',
  '--something-new 5 run hello',
  'run --port 4096 -- -x',
])('R17: isRun recognizes `opencode %s`, with any options before the command', (line) => {
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
  '--something-new run hello',
  '--continue run',
  '--print-logs web run',
  '--cors=a web run',
  'some/folder run',
  '-- run',
  'some/folder',
])('R17: isRun rejects `opencode %s`', (line) => {
  expect(isRun(line.split(' '))).toBe(false)
})
