/**
 * The disks of a worker's host that are full: of its worktrees, of its clone, and of its OpenCode. Each is a small file system of its
 * own, which only root can mount.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startFleet, tellings, type FleetStage, type Host } from '../harness/fleet-hosts.ts'
import { heldReply } from '../harness/replies.ts'
import type { ModelRequest, Reply } from '../harness/script.ts'
import { mountDisk, type SmallDisk } from '../harness/small-disk.ts'
import { backgroundTask, type Parent } from '../harness/stage.ts'
import { idOf } from '../harness/trees.ts'

/** More than the 2 GB that a new worktree needs. */
const DISK_BYTES = 3_000_000_000
const DISKS = ['trees', 'clone', 'data'] as const
type Name = (typeof DISKS)[number]

let fleet: FleetStage
let host: Host
const disks = new Map<Name, SmallDisk>()
const diskOf = (name: Name): SmallDisk => disks.get(name) as SmallDisk

beforeAll(async () => {
  fleet = await startFleet(['one'], {
    times: { retryMs: 500 },
    prepare: (home) => {
      for (const name of DISKS) disks.set(name, mountDisk(join(home, name), DISK_BYTES))
    },
  })
  host = fleet.hosts[0] as Host
})
afterEach(() => {
  for (const disk of disks.values()) disk.free()
})
afterAll(async () => {
  for (const disk of disks.values()) disk.close()
  await fleet.close()
})

const HALF: Reply = {
  tools: [{ name: 'bash', args: { command: 'echo half > half.txt', description: 'Write' } }],
}
/** More than the files of OpenCode's database have room for. */
const LONG = 'it was done at length. '.repeat(100_000)
const results = ({ messages }: ModelRequest): readonly string[] =>
  messages.filter(({ role }) => role === 'tool').map(({ content }) => content)
const isOf =
  (prompt: string) =>
  ({ messages }: ModelRequest): boolean =>
    messages.some(({ role, content }) => role === 'user' && content.endsWith(prompt))

async function launch(prompt: string): Promise<{ parent: Parent; id: string }> {
  const parent = await fleet.stage.parent()
  return { parent, id: idOf((await parent.call([backgroundTask(prompt, { where: 'any' })])).join('')) }
}

/** Returns how often the agent with this prompt was prompted. */
function prompts(prompt: string): number {
  return fleet.agents.requests.filter((request) => isOf(prompt)(request) && results(request).length === 0)
    .length
}

async function end(parent: Parent, id: string): Promise<string> {
  await parent.waitForNotice(id)
  const text = parent.noticeText
  await parent.say('And now?')
  expect((await tellings(fleet.stage.server, parent.id)).get(id)).toBe(1)
  return text
}

function onBranch(id: string, file: string): string {
  const ask = (...args: readonly string[]): string =>
    execFileSync('git', ['-C', fleet.stage.server.directory, ...args]).toString()
  const pattern = `refs/heads/opencode-background/${id}-*`
  return ask('show', `${ask('for-each-ref', '--format=%(refname)', pattern).trim()}:${file}`)
}

/** Expects that a host whose disks have room again does a task. */
async function expectNext(prompt: string): Promise<void> {
  fleet.agents.script = (request) => (results(request).length > 0 ? { text: 'it was done' } : HALF)
  const { id, parent } = await launch(prompt)
  expect(await end(parent, id)).toContain('status="completed"')
  expect(onBranch(id, 'half.txt')).toBe('half\n')
}

test.each([
  ['trees', /the disk of \S+\/trees\/\S+ has 0.0 GB free/],
  ['clone', /\/clone cannot take its code: .*no space left on device/i],
] as const)(
  'a full disk of the %s before the worktree is made: failed, told once with the reason, and the worker goes on',
  async (name, why) => {
    fleet.agents.script = () => HALF
    diskOf(name).fill()
    const prompt = `no room for the ${name}`
    const { parent, id } = await launch(prompt)
    const notice = await end(parent, id)
    expect(notice).toContain('status="failed"')
    expect(notice).toMatch(why)
    expect(prompts(prompt)).toBe(0)
    diskOf(name).free()
    await expectNext(`room for the ${name}`)
  },
)

/** Launches an agent that writes half of its files, whose host has full disks from then on, and that then does `more`. */
async function fillAtWork(
  prompt: string,
  full: readonly Name[],
  more: Reply,
): Promise<{ id: string; notice: string }> {
  const { reply, release } = heldReply()
  fleet.agents.script = (request) => {
    if (results(request).length === 0) return HALF
    return results(request).length === 1 ? reply : { text: 'it was done' }
  }
  const { parent, id } = await launch(prompt)
  await fleet.agents.waitForRequest((request) => isOf(prompt)(request) && results(request).length === 1)
  for (const name of full) diskOf(name).fill()
  release(more)
  const notice = await end(parent, id)
  expect(prompts(prompt)).toBe(1)
  for (const name of full) diskOf(name).free()
  return { id, notice }
}

test('a full disk of the worktrees at work: the agent sees it, and what was written before is on the branch', async () => {
  const prompt = 'fill the worktrees'
  const { id, notice } = await fillAtWork(prompt, ['trees'], {
    tools: [{ name: 'bash', args: { command: 'head -c 100000 /dev/zero > more.txt', description: 'Write' } }],
  })
  const last = fleet.agents.requests.findLast(isOf(prompt))
  expect(last && results(last).at(-1)).toContain('No space left on device')
  expect(notice).toContain('status="completed"')
  expect(onBranch(id, 'half.txt')).toBe('half\n')
  await expectNext('worktrees with room')
})

test('a full disk of OpenCode at work: failed, told once, and what was written is on the branch', async () => {
  const { id, notice } = await fillAtWork('fill OpenCode', ['data'], { text: LONG })
  // OpenCode says nothing of its disk: the session is idle without an answer.
  expect(notice).toContain('status="failed"')
  expect(notice).toContain('did not finish an answer')
  expect(onBranch(id, 'half.txt')).toBe('half\n')
  await expectNext('an OpenCode with room')
})

test.each([[['clone']], [DISKS]] as const)(
  'full disks of %j at the commit: told once with the reason, and the worktree stays at the worker with all files',
  async (full) => {
    const { id, notice } = await fillAtWork(`commit to ${full.join(' ')}`, full, { text: 'it was done' })
    expect(notice).toContain('status="completed"')
    const { root = '' } =
      /worker one keeps them in (?<root>\S+): .*No space left on device/.exec(notice)?.groups ?? {}
    expect(root).toContain(host.trees)
    expect(readFileSync(join(root, 'half.txt'), 'utf8')).toBe('half\n')
    expect(() => onBranch(id, 'half.txt')).toThrow('fatal')
    await expectNext(`after ${full.join(' ')}`)
    expect(readFileSync(join(root, 'half.txt'), 'utf8')).toBe('half\n')
  },
)
