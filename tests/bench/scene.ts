/**
 * Runs one parent whose children end when the benchmark releases them. Checks that the parent's model received
 * each result, and that the history has it once; for peers only that it was received.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { LoggedRequest, ScriptedModel } from '../harness/model.ts'
import type { ModelRequest, Reply, ToolCall } from '../harness/script.ts'
import type { StoredMessage } from '../harness/server.ts'
import type { Contender } from './contender.ts'
import { WEIGHT_BYTES } from './heavy-plugin.ts'

const LIMIT_MS = 600_000
const WEIGHTS_AT_ONCE = 10
/** A sentence or two, as a sub-agent answers. */
const RESULT = 'It is as it should be, as far as could be seen here.'

/** In milliseconds, except `peak`, `turns` and `characters`. */
export interface Sample {
  /** Duration of each launch. */
  readonly launches: readonly number[]
  /** From the beginning of the first launch to the end of the last. */
  readonly launchedAfter: number
  /** From the end of the last child to the parent's model request that has all results. */
  readonly toldAfter: number
  /** From the beginning of the first launch to the end of the last child. */
  readonly makespan: number
  /** Maximum of children at work at the same time. */
  readonly peak: number
  /** Number of the parent's model requests that notices caused. */
  readonly turns: number
  /** Size of the notices in the parent's context, without descriptions and results. */
  readonly characters: number
}

export interface Wishes {
  /** Time over which the children end; the first one ends when all are at work and the parent is idle. */
  readonly spreadMs?: number
  /** If set, each child instead ends by itself after this time. */
  readonly workMs?: number | undefined
  /** Called before the first child ends. */
  readonly onEnd?: (parentID: string) => Promise<void>
}

export class Scene {
  readonly #model: ScriptedModel
  /** Holds by the names of children; a child ends when its hold is released. */
  readonly #held = new Map<string, { readonly promise: Promise<void>; readonly release: () => void }>()
  #workMs: number | undefined
  #count = 0
  /** How many tool calls each child makes before it answers. */
  #weights = 0

  constructor(model: ScriptedModel) {
    this.#model = model
    model.script = (request) => this.#script(request)
  }

  /** Makes a new parent launch `count` children at once, and waits until all are reported. */
  async sample(
    contender: Contender,
    count: number,
    { spreadMs = 0, workMs, onEnd }: Wishes = {},
  ): Promise<Sample> {
    const { id, names } = await this.launch(contender, count, { workMs })
    const { server } = contender
    const before = workMs === undefined ? await this.everyoneWaits(contender, id, count) : 0
    await onEnd?.(id)
    for (const [index, name] of names.entries()) {
      setTimeout(() => this.release(name), (index * spreadMs) / count)
    }
    const told = await this.#model.waitForRequest(
      (request) => request.sessionID === id && names.every((name) => tellings(request.messages, name) > 0),
      { timeoutMs: LIMIT_MS, description: `all of ${count} told, ${contender.name}` },
    )
    const stored = await server.waitForIdle(id, { timeoutMs: LIMIT_MS })
    for (const name of names) this.#held.delete(name)
    const requests = this.#model.requestsOf(id)
    const last = requests.at(-1)?.messages ?? []
    const isOnce = (name: string): boolean => tellings(last, name) === 1 && storedTellings(stored, name) === 1
    // A peer may move its notices once they are read, or repeat them; that it reported is known.
    const wrong = contender.isPeer ? [] : names.filter((name) => !isOnce(name))
    if (wrong.length > 0) throw new Error(`${contender.name}: not told once: ${wrong.join(', ')}`)
    const children = this.#lastStepsOf(id)
    const ends = children.flatMap(({ endedAt }) => endedAt ?? [])
    const launches = launchesOf(stored)
    if (ends.length !== count || launches.length !== count) {
      throw new Error(`${contender.name}: of ${count}, ${launches.length} launched and ${ends.length} ended`)
    }
    const begun = Math.min(...launches.map(({ start }) => start))
    const own = names.reduce((sum, name) => sum + resultOf(name).length + name.length, 0)
    const notices = last.flatMap(({ role, content }) =>
      role === 'user' && content.includes('RESULT ') ? [content.length] : [],
    )
    return {
      launches: launches.map(({ start, end }) => end - start),
      launchedAfter: Math.max(...launches.map(({ end }) => end)) - begun,
      toldAfter: told.at - Math.max(...ends),
      makespan: Math.max(...ends) - begun,
      peak: Math.max(
        ...children.map(
          ({ at }) => children.filter((each) => each.at <= at && at < (each.endedAt ?? at)).length,
        ),
      ),
      turns: workMs === undefined ? requests.length - before : Number.NaN,
      characters: notices.reduce((sum, length) => sum + length, 0) - own,
    }
  }

  /**
   * Makes a new parent launch `count` children at once; they end by themselves only with `workMs`.
   *
   * @param options.weightMB the size of each child's transcript in megabytes, of tool calls; needs `heavy-plugin.ts`
   */
  async launch(
    contender: Contender,
    count: number,
    { workMs, weightMB = 0 }: Pick<Wishes, 'workMs'> & { readonly weightMB?: number } = {},
  ): Promise<{ readonly id: string; readonly names: string[] }> {
    this.#workMs = workMs
    this.#weights = Math.round((weightMB * 1e6) / WEIGHT_BYTES)
    const scene = this.#count++
    const { id } = await contender.server.createSession({ title: contender.name })
    const names = Array.from({ length: count }, (_, index) => `child-${scene}-${index}`)
    await this.launchMore(contender, id, names)
    return { id, names }
  }

  /** Makes a parent launch children of these names in one step; resolves when all launches are answered. */
  async launchMore({ server, launch }: Contender, id: string, names: readonly string[]): Promise<void> {
    const before = launchesOf(await server.messages(id)).length
    const calls = names.map((name) => launch(name, `Please see to ${name}.`))
    await server.prompt(id, `LAUNCH ${JSON.stringify(calls)} END`)
    await this.#model.waitForRequest(
      (request) => request.sessionID === id && toolResults(request) === before + names.length,
      { timeoutMs: LIMIT_MS, description: `${names.length} launches of ${id} answered` },
    )
    // A refusal is an answer, too.
    const launched = launchesOf(await server.messages(id)).length - before
    if (launched !== names.length) throw new Error(`Of ${names.length} in ${id}, ${launched} were launched`)
  }

  /** Has a child give its final answer. */
  release(name: string): void {
    this.#hold(name).release()
  }

  /** Returns the number of children of these parents at work. */
  workingOf(ids: readonly string[]): number {
    return ids.flatMap((id) => this.childrenOf(id)).filter(({ outcome }) => outcome === 'open').length
  }

  /** The requests by which the children of a parent have their last step. */
  #lastStepsOf(id: string): readonly LoggedRequest[] {
    return this.childrenOf(id).filter((request) => toolResults(request) >= this.#weights)
  }

  childrenOf(id: string): readonly LoggedRequest[] {
    return this.#model.requests.filter(({ parentSessionID }) => parentSessionID === id)
  }

  /** Resolves with the parent's request count when all children are at work and the parent is idle. */
  async everyoneWaits({ server }: Contender, id: string, count: number): Promise<number> {
    await this.#model.waitForRequest(() => this.#lastStepsOf(id).length === count, {
      timeoutMs: LIMIT_MS,
      description: `${count} children of ${id} at work`,
    })
    await server.waitForIdle(id, { timeoutMs: LIMIT_MS })
    // Lets the events after the end of the parent's turn pass.
    await sleep(50)
    return this.#model.requestsOf(id).length
  }

  async #script({ parentSessionID, messages }: ModelRequest): Promise<Reply> {
    const last = messages.at(-1)
    if (parentSessionID !== undefined) {
      const name = messages.map(({ content }) => /see to (child-\d+-\d+)\./.exec(content)?.[1]).find(Boolean)
      const weights = this.#weights - toolResults({ messages })
      // OpenCode asks the user before it makes the same call a third time.
      const calls = Array.from({ length: Math.min(weights, WEIGHTS_AT_ONCE) }, (_, index) => weights - index)
      if (weights > 0) return { tools: calls.map((n) => ({ name: 'bench_weight', args: { n } })) }
      if (this.#workMs === undefined) await this.#hold(name ?? '').promise
      else await sleep(this.#workMs)
      return { text: resultOf(name ?? '') }
    }
    const calls = last?.role === 'user' ? /^LAUNCH (.*) END/s.exec(last.content)?.[1] : undefined
    return calls === undefined ? { text: 'Noted.' } : { tools: JSON.parse(calls) as ToolCall[] }
  }

  #hold(name: string): { readonly promise: Promise<void>; readonly release: () => void } {
    const known = this.#held.get(name)
    if (known) return known
    let release = (): void => {}
    const promise = new Promise<void>((resolve) => {
      release = resolve
    })
    const hold = { promise, release }
    this.#held.set(name, hold)
    return hold
  }
}

function toolResults({ messages }: Pick<ModelRequest, 'messages'>): number {
  return messages.filter(({ role }) => role === 'tool').length
}

function resultOf(name: string): string {
  return `RESULT ${name}: ${RESULT}`
}

function tellings(messages: ModelRequest['messages'], name: string): number {
  return messages.reduce(
    (sum, { role, content }) => sum + (role === 'user' ? content.split(`RESULT ${name}:`).length - 1 : 0),
    0,
  )
}

function storedTellings(stored: readonly StoredMessage[], name: string): number {
  return stored
    .filter(({ info }) => info.role === 'user')
    .flatMap(({ parts }) => parts)
    .filter((part) => part.type === 'text' && part.text.includes(`RESULT ${name}:`)).length
}

/** Returns start and end of each tool call, in milliseconds since the Unix epoch. */
export function launchesOf(stored: readonly StoredMessage[]): readonly { start: number; end: number }[] {
  return stored.flatMap(({ parts }) =>
    parts.flatMap((part) =>
      part.type === 'tool' && part.state.status === 'completed' ? [part.state.time] : [],
    ),
  )
}
