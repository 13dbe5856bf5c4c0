/** Runs many tasks at the hosts of a fleet, or here, and checks what came of them. */
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { PROVIDERS, tellings, type FleetStage } from './fleet-hosts.ts'
import type { ModelRequest, Reply } from './script.ts'
import { backgroundTask } from './stage.ts'

export interface TasksDone {
  /** From the first launch until the parent was told of each end. */
  readonly makespanMs: number
  /** The most agents that asked their model at a time: all, and those of the provider `acme`. */
  readonly peak: { readonly total: number; readonly acme: number }
}

export interface TasksWanted {
  /** A third of them, rounded up, are for the provider `acme`. */
  readonly count: number
  /** How long each agent waits for its model, besides its tool call. */
  readonly thinkMs: number
  /** More arguments of each launch. */
  readonly launch: object
  readonly timeoutMs: number
}

const LOOK_MS = 250
/** How many tasks a parent launches in one step. */
const LAUNCHES = 20

let batches = 0

/**
 * Rejects if a task was told more or less than once, if its agent was prompted twice, or if its result or its branch is not here.
 */
export async function runTasks(fleet: FleetStage, wanted: TasksWanted): Promise<TasksDone> {
  const { agents, stage } = fleet
  const { count, thinkMs, launch, timeoutMs } = wanted
  batches += 1
  const prefix = `task-${batches}`
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
  const from = agents.requests.length
  agents.script = (request) => write(request, thinkMs)
  const parent = await stage.parent()
  const began = performance.now()
  const ids: string[] = []
  for (let first = 0; first < count; first += LAUNCHES) {
    const calls = names.slice(first, first + LAUNCHES).map((name, index) => {
      const provider = (first + index) % 3 === 0 ? PROVIDERS[0] : PROVIDERS[1]
      return backgroundTask(name, { model: `${provider}/of-${provider}`, ...launch })
    })
    const answers = await parent.call(calls)
    ids.push(...answers.map((answer) => /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer))
  }
  const deadline = began + timeoutMs
  let told = await tellings(stage.server, parent.id)
  while (ids.some((id) => !told.has(id))) {
    if (performance.now() > deadline)
      throw new Error(`after ${timeoutMs} ms, ${told.size} of ${count} tasks were told`)
    await sleep(LOOK_MS)
    told = await tellings(stage.server, parent.id)
  }
  const makespanMs = performance.now() - began
  await parent.quietBesidesChildren()
  told = await tellings(stage.server, parent.id)
  const requests = agents.requests.slice(from)
  const wrong = ids.flatMap((id, index) => {
    const name = names[index] ?? ''
    const asked = requests.filter((request) => nameIn(request) === name && !hasWritten(request))
    return [
      ...(told.get(id) === 1 ? [] : [`${id} was told ${told.get(id)} times`]),
      ...(asked.length === 1 ? [] : [`the agent of ${id} was prompted ${asked.length} times`]),
      ...(fileOn(stage.server.directory, id, name) === name ? [] : [`${id} has no branch with its file`]),
    ]
  })
  if (wrong.length > 0 || new Set(ids).size !== count) {
    const errors = (await stage.server.messages(parent.id)).flatMap(({ parts }) =>
      parts.flatMap((part) => (part.type === 'text' ? (part.text.match(/<error>.*/g) ?? []) : [])),
    )
    throw new Error([...wrong, ...new Set(errors)].join('\n'))
  }
  const open = (isMeant: (request: (typeof requests)[number]) => boolean): number => {
    const meant = requests.filter(isMeant)
    return Math.max(
      0,
      ...meant.map(({ at }) => meant.filter((one) => one.at <= at && at < (one.endedAt ?? Infinity)).length),
    )
  }
  const peak = { total: open(() => true), acme: open(({ model }) => model === `of-${PROVIDERS[0]}`) }
  return { makespanMs, peak }
}

/** Answers as an agent that writes a file with its name, and then thinks about its result. */
async function write(request: ModelRequest, thinkMs: number): Promise<Reply> {
  const name = nameIn(request)
  if (!hasWritten(request))
    return {
      tools: [{ name: 'bash', args: { command: `echo ${name} > ${name}.txt`, description: 'Write' } }],
    }
  await sleep(thinkMs)
  return { text: `RESULT ${name}` }
}

function nameIn({ messages }: ModelRequest): string {
  const prompt = messages.findLast(({ role }) => role === 'user')?.content ?? ''
  return /task-\d+-\d+$/.exec(prompt.trim())?.[0] ?? ''
}

function hasWritten({ messages }: ModelRequest): boolean {
  return messages.some(({ role }) => role === 'tool')
}

/** Returns what the file of a task has on the branch of its task. */
function fileOn(checkout: string, id: string, name: string): string | undefined {
  try {
    const file = `opencode-background/${id}-${name}:${name}.txt`
    return execFileSync('git', ['-C', checkout, 'show', file], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim()
  } catch {
    return undefined
  }
}
