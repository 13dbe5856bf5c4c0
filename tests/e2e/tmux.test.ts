import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createHome, environment, type Home } from '../harness/home.ts'
import { heldReply } from '../harness/replies.ts'
import { buildPlugin } from '../harness/plugin.ts'
import { startRun } from '../harness/run.ts'
import { backgroundTask, startStage, type Stage } from '../harness/stage.ts'

const SOCKET = `background-panes-${process.pid}`

let home: Home
let stage: Stage

function tmux(...args: readonly string[]): string {
  return execFileSync('tmux', ['-L', SOCKET, ...args], { encoding: 'utf8', env: environment(home) }).trim()
}

/** Returns the contents of all panes. */
const screens = (): string =>
  panes()
    .map((pane) => tmux('capture-pane', '-p', '-t', pane))
    .join('\n')

const panes = (): string[] => tmux('list-panes', '-F', '#{pane_id}').split('\n')

beforeAll(async () => {
  home = createHome()
  tmux('new-session', '-d', '-x', '220', '-y', '50', 'sleep 1000')
  stage = await startStage({
    options: { tmux: { enabled: true, limit: 2 } },
    env: {
      TMUX: tmux('display', '-p', '#{socket_path},#{pid},0'),
      TMUX_PANE: tmux('display', '-p', '#{pane_id}'),
      OPENCODE_SERVER_USERNAME: 'somebody',
      OPENCODE_SERVER_PASSWORD: 'secret',
    },
  })
})

afterAll(async () => {
  await stage.close()
  tmux('kill-server')
})

test('each agent at work has a pane with its session, up to the limit, and the focus stays', async () => {
  const [main = ''] = panes()
  const first = heldReply()
  const others = heldReply()
  const parent = await stage.parent(({ messages }) =>
    messages.at(-1)?.content.startsWith('first') ? first.reply : others.reply,
  )
  await parent.launchInTurn('first task', 'second task', 'third task')
  await expect.poll(() => panes().length).toBe(3)
  await expect.poll(screens).toMatch(/first task[^]*second task/)
  expect(tmux('display', '-p', '#{pane_id}')).toBe(main)
  const width = Number(tmux('display', '-p', '-t', main, '#{pane_width}'))
  expect(width).toBeGreaterThan(120)
  expect(width).toBeLessThan(140)
  // The pane of an ended agent closes, and the next agent at work opens one.
  first.release({ text: 'first done' })
  await parent.waitForNotice('first done')
  await expect.poll(screens).toMatch(/second task[^]*third task/)
  expect(panes()).toHaveLength(3)
  others.release({ text: 'done' })
  await expect.poll(panes).toEqual([main])
  expect(tmux('display', '-p', '#{pane_id}')).toBe(main)
})

test('a pane that the user has closed does not prevent the next one from opening', async () => {
  const [main = ''] = panes()
  const first = heldReply()
  const second = heldReply()
  const parent = await stage.parent(({ messages }) =>
    messages.at(-1)?.content.startsWith('closed') ? first.reply : second.reply,
  )
  await parent.launch('closed task')
  await expect.poll(() => panes().length).toBe(2)
  tmux('kill-pane', '-t', panes().find((pane) => pane !== main) ?? '')
  await parent.launch('next task')
  await expect.poll(() => panes().length).toBe(2)
  first.release({ text: 'done' })
  second.release({ text: 'done' })
  await expect.poll(panes).toEqual([main])
})

test("tmux runs nothing of the name of a project's directory", async () => {
  const [main = ''] = panes()
  const directory = join(stage.server.directory, '#(cd; touch harm)')
  mkdirSync(directory)
  const { reply, release } = heldReply()
  const parent = await stage.parent(() => reply, {}, stage.server.project(directory))
  await parent.launch('shown all the same')
  await expect.poll(screens).toContain('shown all the same')
  release({ text: 'done' })
  await expect.poll(panes).toEqual([main])
  expect(existsSync(join(home.path, 'harm'))).toBe(false)
})

test('an end of OpenCode leaves no pane behind', async () => {
  const [main = ''] = panes()
  const parent = await stage.parent(() => new Promise(() => {}))
  await parent.launch('endless')
  // The plugin has known of the pane for seconds when its session is drawn.
  await expect.poll(screens).toContain('endless')
  await stage.restart('SIGTERM')
  await expect.poll(panes).toEqual([main])
})

test('the plugin reports once that there are no panes without tmux', async () => {
  const outside = await startStage({ options: { tmux: { enabled: true } } })
  try {
    const parent = await outside.parent()
    for (const name of ['one', 'two']) {
      await parent.launch(name)
      await parent.waitForNotice(`\n${name}\n`)
    }
    const said = /message="[^"]*option tmux: no panes, because OpenCode does not run inside tmux/g
    expect((await outside.server.log()).match(said)).toHaveLength(1)
  } finally {
    await outside.close()
  }
})

test('the plugin reports once that there are no panes when OpenCode does not listen', async () => {
  const plugins = [[await buildPlugin(), { tmux: { enabled: true } }] as const]
  const calls = JSON.stringify(['one', 'two'].map((name) => backgroundTask(name)))
  const env = { TMUX: 'given', TMUX_PANE: '%0' }
  const run = await startRun(`CALL ${calls} END`, { model: stage.model, plugins, env }, [
    'run',
    '--print-logs',
  ])
  const { output, code } = await run.ended
  expect(code).toBe(0)
  expect(
    output.match(/message="[^"]*option tmux: no panes, because OpenCode does not listen at/g),
  ).toHaveLength(1)
})
