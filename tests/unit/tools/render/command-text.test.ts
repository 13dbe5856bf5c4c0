import { expect, test } from 'vitest'
import type { Tail } from '../../../../src/work/command/files.ts'
import type { CommandTask } from '../../../../src/task/task.ts'
import { noticeGuidance } from '../../../../src/tools/notice-guidance.ts'
import { toolNames as names } from '../../../../src/tool-names.ts'
import { commandText } from '../../../../src/tools/render/command-text.ts'

const ENDED: CommandTask = {
  id: 'bg_1a2b3c4d',
  kind: 'command',
  run: 1,
  sessionID: 'ses_command',
  parentID: 'ses_parent',
  description: 'build it',
  command: 'npm run build',
  cwd: '/project',
  timeoutMs: 0,
  notifyOn: [],
  createdAt: 1000,
  startedAt: 2000,
  endedAt: 3000,
  status: 'completed',
  usage: { toolCalls: 0, tokens: 0, cost: 0 },
  exit: { type: 'exited', code: 0 },
}

function textOf(stdout: Partial<Tail>, hasLeftovers = false): string {
  const none = { text: '', leftOutBytes: 0 }
  const streams = { stdout: { ...none, ...stdout }, stderr: none }
  const output = { directory: '/files', ...streams, hasLeftovers, isGone: false }
  const toolNames = names('')
  const answer = { task: ENDED, note: undefined, output, at: 3000, piece: undefined }
  return commandText(answer, { manager: { toolNames }, guidance: noticeGuidance(toolNames) })
}

test('cut output names the number of bytes left out, and how to read them', () => {
  const text = textOf({ text: 'the end\n', leftOutBytes: 1234 })
  expect(text).toContain(
    '(stdout)**, its end. 1234 bytes come before it: check_background with offset: 0:\n```\nthe end\n```',
  )
  expect(text).toContain('`/files/{stdout,stderr}`')
  expect(textOf({ text: 'all\n' })).toContain('(stdout)**:\n```\nall\n```')
})

test('output cannot close its own code block', () => {
  expect(textOf({ text: 'a ``` b ~~~~ c ```` d' })).toContain('\n`````\na ``` b ~~~~ c ```` d\n`````')
})

test('the text of an ended command reports its leftover processes', () => {
  expect(textOf({}, true)).toContain('| **Left running** | leftover processes; kill_background kills them |')
  expect(textOf({})).not.toContain('Left running')
})
