import { writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { never } from '../harness/replies.ts'
import type { Terminal } from '../harness/terminal.ts'
import { startTuiStage, type TuiStage } from '../harness/tui.ts'

let stage: TuiStage
let terminal: Terminal

/** A server that is started again has another address here: the terminal is given one that leads to where it is now. */
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

test('when the server is killed and comes back, an attached terminal says what has become of the tasks', async () => {
  await stage.root.launch('hold one', 'hold two')
  await terminal.see('Background 1 running, 1 pending')
  await stage.restart('SIGKILL')
  const ended = ['Background all ended', /✗ general hold one/, /✗ general hold two/]
  await terminal.see(
    [...ended, 'OpenCode stopped before the task', (now) => !/\d (running|pending)/.test(now)],
    { timeoutMs: 60_000 },
  )
  // Nobody has woken the session for it.
  expect(stage.root.noticeTurns).toHaveLength(0)
})

test('after a restart the same terminal follows new tasks, and one that is opened late says the same', async () => {
  await stage.root.launch('hold three')
  await terminal.see('Background 1 running')
  await stage.restart('SIGKILL')
  const late = await stage.open()
  await late.see('Background all ended', { timeoutMs: 60_000 })
  await late.see(/✗ general hold three/)
})

test('a command that goes on after a kill is shown at work, and one that has ended as ended', async () => {
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
  await terminal.see(/✗ \$ command 1[^]*exit code 5/, { timeoutMs: 60_000 })
  await terminal.see(/● \$ command 0/)
  writeFileSync(file, '')
  await terminal.see(/✗ \$ command 0[^]*exit code 4/)
})
