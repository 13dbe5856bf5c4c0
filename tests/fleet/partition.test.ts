import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startMachine, type RemoteMachine } from '../harness/machines.ts'
import { startNamespace, type Namespace } from '../harness/namespace.ts'
import { heldReply } from '../harness/replies.ts'
import { backgroundTask, startStage, type Parent, type Stage } from '../harness/stage.ts'
import { idOf, writes } from '../harness/trees.ts'

let stage: Stage
let big: RemoteMachine
let network: Namespace

beforeAll(async () => {
  stage = await startStage()
  big = await startMachine(stage.server.directory, () => ({ text: 'done' }))
  network = await startNamespace(big.server.url)
  await stage.close()
  const env = { NO_PROXY: `127.0.0.1,localhost,${network.address}` }
  stage = await startStage({ options: { machines: { big: { ...big.option, url: network.url } } }, env })
  big.git('remote', 'set-url', 'origin', stage.server.directory)
  big.git('fetch', '--quiet', 'origin')
  big.git('reset', '--quiet', '--hard', 'origin/HEAD')
})
afterAll(async () => {
  await stage.close()
  await big.close()
  await network.close()
})

const tool = async (parent: Parent, name: string, args: object): Promise<string> =>
  (await parent.call([{ name, args: { ...args } }])).join('')

test('an agent that ends while the network drops all packets is told once, with its branch, when they pass again', async () => {
  const { reply: held, release } = heldReply()
  const parent = await stage.parent()
  big.model.script = async (request) => {
    await held
    return writes('apart.txt', 'apart\n')(request)
  }
  const id = idOf(
    await tool(parent, 'background_task', { ...backgroundTask('work apart').args, where: 'big' }),
  )
  const { sessionID } = await big.model.waitForRequest(() => true)
  network.drop()
  await expect
    .poll(() => tool(parent, 'background_output', { task_id: id }), { interval: 2000 })
    .toContain('status: running (no contact with big since ')
  release({ text: '' })
  await big.project.waitForIdle(sessionID)
  expect(await tool(parent, 'background_output', { task_id: id })).toContain('no contact with big since')
  network.heal()
  await parent.waitForNotice('written in')
  const branch = `opencode-background/${id}-work-apart`
  expect(execFileSync('git', ['-C', stage.server.directory, 'show', `${branch}:apart.txt`]).toString()).toBe(
    'apart\n',
  )
  const prompts = big.model
    .requestsOf(sessionID)
    .map(({ messages }) => messages.filter(({ role }) => role === 'user').length)
  expect(new Set(prompts)).toEqual(new Set([1]))
  await parent.quietBesidesChildren()
  expect(parent.noticeTurns.filter(({ messages }) => messages.at(-1)?.content.includes(id))).toHaveLength(1)
})

test('an agent whose machine is cut off right after its launch runs once, when the network is back', async () => {
  const parent = await stage.parent()
  big.model.script = () => ({ text: 'started late' })
  const id = idOf(
    await tool(parent, 'background_task', { ...backgroundTask('start late').args, where: 'big' }),
  )
  network.drop()
  await expect
    .poll(() => tool(parent, 'background_output', { task_id: id }), { interval: 2000 })
    .toContain('no contact with big since ')
  network.heal()
  await parent.waitForNotice('started late')
  const prompted = big.model.requests.filter(({ messages }) =>
    messages.at(-1)?.content.endsWith('start late'),
  )
  expect(prompted).toHaveLength(1)
})
