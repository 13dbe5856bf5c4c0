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

/** By default, a worker loses its claims after 30 s without an answer. */
const LEASE_S = 30
/** In seconds. `FLEET_LONG=1 npm run test:fleet-long -- cut-off` tries one of 5 minutes, which takes a quarter of an hour. */
const CUTS_S = process.env['FLEET_LONG'] === undefined ? [5, 40] : [300]
const LIMIT_MS = 600_000

/** Which packets each host loses; `database`: only those to the database, so that its agent works on. */
const HOSTS = ['both', 'in', 'out', 'database'] as const
type Name = (typeof HOSTS)[number]

let fleet: FleetStage
let launcher: Namespace

beforeAll(async () => {
  fleet = await startFleet(HOSTS, {
    slots: 1,
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

/** Resolves with how often the end of a task was told, how often its agent was prompted, and what came back of its work. */
async function seen(parent: Parent, id: string, prompt: string): Promise<object> {
  await parent.say('And now?')
  const times = (await tellings(fleet.stage.server, parent.id)).get(id)
  return { times, prompts: prompts(prompt), half: half(id, prompt) }
}
const ONCE = { times: 1, prompts: 1, half: 'half\n' }

test.each(CUTS_S)(
  'hosts that are cut off for %i s: shorter than the lease, the agent works on; longer, it has failed, told once, with its checkpoint',
  async (seconds) => {
    const tasks = new Map<Name, { parent: Parent; id: string; prompt: string; release: () => void }>()
    const replies = new Map<Name, Promise<Reply>>()
    const promptOf = (name: Name): string => `work at ${name} for ${seconds}`
    fleet.agents.script = (request) => {
      const name = HOSTS.find((each) => isOf(promptOf(each))(request))
      return (hasWritten(request) && name && replies.get(name)) || WORK
    }
    for (const name of HOSTS) {
      const { reply, release } = heldReply()
      replies.set(name, reply)
      const [parent, prompt] = [await fleet.stage.parent(), promptOf(name)]
      const id = await launch(parent, prompt, name)
      tasks.set(name, { parent, id, prompt, release: () => release({ text: 'it ended' }) })
    }
    const isAtWork = (name: Name) => (request: ModelRequest) =>
      isOf(promptOf(name))(request) && hasWritten(request)
    for (const name of HOSTS) await fleet.agents.waitForRequest(isAtWork(name))
    const checkpoints = `select from fleet.job where checkpoint is not null and phase = 'prompted'`
    await expect.poll(() => fleet.database.ask(checkpoints), { timeout: 60_000 }).toHaveLength(HOSTS.length)
    for (const name of ['both', 'in', 'out'] as const) hostOf(name).network.drop(name)
    hostOf('database').network.drop('both', fleet.postgres.port)
    tasks.get('database')?.release()
    await sleep(seconds * 1000)
    for (const { network } of fleet.hosts) network.heal()
    for (const { release } of tasks.values()) release()
    const end = seconds < LEASE_S ? 'completed' : 'failed'
    const ends = { both: end, in: end, out: end, database: 'completed' }
    for (const [name, { id, parent, prompt }] of tasks) {
      const found = { name, end: await endOf(parent, id), ...(await seen(parent, id, prompt)) }
      expect(found).toEqual({ name, end: ends[name], ...ONCE })
    }
  },
  LIMIT_MS,
)

const LAUNCHER_CUTS = CUTS_S.flatMap((seconds) =>
  (['both', 'in'] as const).map((way) => [seconds, way] as const),
)

test.each(LAUNCHER_CUTS)(
  'a launcher that is cut off for %i s (%s): what ends meanwhile is told once',
  async (seconds, direction: Direction) => {
    const prompt = `cut off ${direction} for ${seconds}`
    const { reply, release } = heldReply()
    fleet.agents.script = (request) => (hasWritten(request) ? reply : WORK)
    const parent = await fleet.stage.parent()
    const id = await launch(parent, prompt, 'any')
    await fleet.agents.waitForRequest((request) => isOf(prompt)(request) && hasWritten(request))
    launcher.drop(direction)
    release({ text: 'it ended meanwhile' })
    await sleep(seconds * 1000)
    expect((await tellings(fleet.stage.server, parent.id)).get(id)).toBeUndefined()
    launcher.heal()
    expect(await endOf(parent, id)).toBe('completed')
    expect(await seen(parent, id, prompt)).toEqual(ONCE)
  },
  LIMIT_MS,
)
