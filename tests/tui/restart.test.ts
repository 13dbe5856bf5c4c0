import { writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { never } from '../harness/replies.ts'
import type { Terminal } from '../harness/terminal.ts'
import { startTuiStage, type TuiStage } from '../harness/tui.ts'

let stage: TuiStage
let terminal: Terminal

/** Relays a fixed address to the current server, because a restarted server has another one here. */
const relay = createServer((client) => {
  const server = connect(Number(new URL(stage.server.url).port), '127.0.0.1')
  client.pipe(server).pipe(client)
  client.on('error', () => server.destroy()).on('close', () => server.destroy())
  server.on('error', () => client.destroy()).on('close', () => client.destroy())
})

beforeAll(async () => {
  stage = await startTuiStage({ child: never, options: { concurrency: { total: 1 } } })
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(relay.address() as AddressInfo).port}`
  terminal = await stage.open({
    args: ['attach', url, '--dir', stage.server.directory, '--session', stage.root.id],
  })
})
afterAll(async () => {
  await stage.close()
  await new Promise((resolve) => relay.close(resolve))
})

test('an attached terminal shows the ends of the tasks after its server was killed and restarted', async () => {
  await stage.root.launch('hold one', 'hold two')
  await terminal.see('Background 1 running, 1 pending')
  await stage.restart('SIGKILL')
  const ended = ['Background all ended', /✗ general hold one/, /✗ general hold two/]
  await terminal.see([
    ...ended,
    'OpenCode stopped before the task',
    (now) => !/\d (running|pending)/.test(now),
  ])
  // No notice has woken the session.
  expect(stage.root.noticeTurns).toHaveLength(0)
})

test('an attached terminal follows new tasks after a restart, as does one opened later', async () => {
  await stage.root.launch('hold three')
  await terminal.see('Background 1 running')
  await stage.restart('SIGKILL')
  const late = await stage.open()
  await late.see('Background all ended')
  await late.see(/✗ general hold three/)
})

test('the view shows a command that survived a kill as running, and one that ended as ended', async () => {
  const file = join(stage.server.directory, 'go')
  const commands = [
    `while [ ! -e ${file} ]; do sleep 0.1; done; exit 4`,
    `while kill -0 ${stage.server.pid}; do sleep 0.1; done; exit 5`,
  ]
  await stage.root.call(
    commands.map((command, index) => ({
      name: 'run_background',
      args: { command, label: `command ${index}` },
    })),
  )
  await terminal.see('Background 2 running')
  await stage.restart('SIGKILL')
  await terminal.see(/✗ \$ command 1[^]*exit code 5/)
  await terminal.see(/● \$ command 0/)
  writeFileSync(file, '')
  await terminal.see(/✗ \$ command 0[^]*exit code 4/)
})
