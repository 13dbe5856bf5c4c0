/** Hosts of a fleet, and its launch, whose network drops packets for a while: on each side, and one way. */
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startFleet, tellings, type FleetStage, type Host } from '../harness/fleet-hosts.ts'
import { startNamespace, type Direction, type Namespace } from '../harness/namespace.ts'
import { heldReply } from '../harness/replies.ts'
import type { ModelRequest, Reply } from '../harness/script.ts'
import { backgroundTask, type Parent } from '../harness/stage.ts'
import { idOf } from '../harness/trees.ts'

const LEASE_MS = 8000
const SHORT_MS = 3000
/** Longer than the lease. */
const LONG_MS = 12_000
const LIMIT_MS = 150_000

const HOSTS = ['short', 'long', 'database', 'in', 'out'] as const
type Name = (typeof HOSTS)[number]

let fleet: FleetStage
let launcher: Namespace

beforeAll(async () => {
  fleet = await startFleet(HOSTS, {
    slots: 1,
    times: { leaseMs: LEASE_MS, retryMs: 500 },
    options: { fleet: { db: 'FLEET_DB', labels: HOSTS } },
    reach: async (url) => {
      launcher = await startNamespace(url)
      return launcher.url
    },
  })
})
afterAll(async () => {
  await fleet.close()
  await launcher.close()
})

const hasWritten = ({ messages }: ModelRequest): boolean => messages.some(({ role }) => role === 'tool')

/** The agent writes a file, and makes as many calls as a checkpoint needs. */
const WORK: Reply = {
  tools: Array.from({ length: 21 }, (_, index) => ({
    name: 'bash',
    args: { command: `echo half > half.txt; echo ${index}`, description: 'Write' },
  })),
}

async function launch(parent: Parent, prompt: string, where: string): Promise<string> {
  return idOf((await parent.call([backgroundTask(prompt, { where })])).join(''))
}

const isOf =
  (prompt: string) =>
  ({ messages }: ModelRequest): boolean =>
    messages.some(({ role, content }) => role === 'user' && content.endsWith(prompt))

/** How often the agent with this prompt was prompted. */
function prompts(prompt: string): number {
  return fleet.agents.requests.filter((request) => isOf(prompt)(request) && !hasWritten(request)).length
}

function hostOf(name: Name): Host {
  const host = fleet.hosts.find((each) => each.name === name)
  if (!host) throw new Error(name)
  return host
}

/** Returns what the file of the agent has on the branch of its task. */
function half(id: string, prompt: string): string {
  const file = `opencode-background/${id}-${prompt.replaceAll(' ', '-')}:half.txt`
  return execFileSync('git', ['-C', fleet.stage.server.directory, 'show', file]).toString()
}

async function endOf(parent: Parent, id: string): Promise<string> {
  const request = await parent.waitForNotice(id, { timeoutMs: LIMIT_MS })
  const notice = request.messages.find(({ role, content }) => role === 'user' && content.includes(id))
  return /<background_task [^>]*status="(\w+)"/.exec(notice?.content ?? '')?.[1] ?? ''
}

test(
  'hosts that are cut off: shorter than the lease, the agent works on; longer, it has failed, told once, with its checkpoint',
  async () => {
    const releases = new Map<Name, (reply: Reply) => void>()
    const replies = new Map(
      HOSTS.map((name) => {
        const { reply, release } = heldReply()
        releases.set(name, release)
        return [name, reply] as const
      }),
    )
    fleet.agents.script = (request) => {
      const name = HOSTS.find((each) => isOf(`work at ${each}`)(request))
      return hasWritten(request) && name ? (replies.get(name) as Promise<Reply>) : WORK
    }
    const parents = new Map<Name, Parent>()
    const ids = new Map<Name, string>()
    for (const name of HOSTS) {
      const parent = await fleet.stage.parent()
      parents.set(name, parent)
      ids.set(name, await launch(parent, `work at ${name}`, name))
    }
    for (const name of HOSTS)
      await fleet.agents.waitForRequest((request) => isOf(`work at ${name}`)(request) && hasWritten(request))
    const checkpoints = `select from fleet.job where checkpoint is not null`
    await expect.poll(() => fleet.database.ask(checkpoints), { timeout: 60_000 }).toHaveLength(HOSTS.length)
    hostOf('short').network.drop()
    hostOf('long').network.drop()
    hostOf('in').network.drop('in')
    hostOf('out').network.drop('out')
    hostOf('database').network.drop('both', fleet.postgres.port)
    // It ends while its worker does not reach the queue.
    releases.get('database')?.({ text: 'kept meanwhile' })
    await sleep(SHORT_MS)
    hostOf('short').network.heal()
    releases.get('short')?.({ text: 'after a short time' })
    const ends = new Map<Name, string>()
    const end = async (name: Name): Promise<void> =>
      void ends.set(name, await endOf(parents.get(name) as Parent, ids.get(name) ?? ''))
    await end('short')
    await sleep(LONG_MS - SHORT_MS)
    for (const { network } of fleet.hosts) network.heal()
    for (const name of HOSTS) await end(name)
    expect(Object.fromEntries(ends)).toEqual({
      short: 'completed',
      long: 'failed',
      database: 'completed',
      in: 'failed',
      out: 'failed',
    })
    for (const name of HOSTS) {
      const parent = parents.get(name) as Parent
      const id = ids.get(name) ?? ''
      await parent.say('And now?')
      const times = (await tellings(fleet.stage.server, parent.id)).get(id)
      const prompt = `work at ${name}`
      const seen = { name, times, prompts: prompts(prompt), half: half(id, prompt) }
      expect(seen).toEqual({ name, times: 1, prompts: 1, half: 'half\n' })
    }
  },
  LIMIT_MS,
)

test.each([
  [SHORT_MS, 'both'],
  [LONG_MS, 'in'],
] as const)(
  'a launcher that is cut off for %i ms (%s): what ends meanwhile is told once',
  async (ms, direction: Direction) => {
    const prompt = `cut off ${ms}`
    const { reply, release } = heldReply()
    fleet.agents.script = (request) => (hasWritten(request) ? reply : WORK)
    const parent = await fleet.stage.parent()
    const id = await launch(parent, prompt, 'any')
    await fleet.agents.waitForRequest((request) => isOf(prompt)(request) && hasWritten(request))
    launcher.drop(direction)
    release({ text: 'it ended meanwhile' })
    await sleep(ms)
    expect((await tellings(fleet.stage.server, parent.id)).get(id)).toBeUndefined()
    launcher.heal()
    expect(await endOf(parent, id)).toBe('completed')
    await parent.say('And now?')
    expect((await tellings(fleet.stage.server, parent.id)).get(id)).toBe(1)
    expect(prompts(prompt)).toBe(1)
    expect(half(id, prompt)).toBe('half\n')
  },
  LIMIT_MS,
)
