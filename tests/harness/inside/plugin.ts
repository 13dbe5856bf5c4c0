/**
 * Loads our plugin inside the real OpenCode, and intercepts its calls and events. A test can advance its time
 * (`clock.ts`), make its calls and events fail, and wait until it has settled: it has received every event,
 * has no call under way, and each prompt that the host has accepted from it has begun its turn. OpenCode
 * loads this file itself, so it imports only Node's modules and its neighbours.
 */
import type { Hooks, PluginInput, PluginModule } from '@opencode-ai/plugin'
import type { Event } from '@opencode-ai/sdk/v2'
import { renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from './clock.ts'
import { MARK_HEADER, type ControlRequest, type DrivenOptions, type Fault } from './protocol.ts'

type Client = PluginInput['client']
type CallName = 'status' | 'record' | 'prompt' | 'notice' | 'other'

/** The time an accepted prompt may need to begin its turn; one stored after an abort never does (contract 4.8). */
const TURN_BEGINS_MS = 6000
/** The time the host may need to send an event; an instance that is being disposed sends none. */
const EVENT_MS = 10_000
const LOOK_MS = 2
const MARK = /^driver\.mark\.(\d+)$/
const MARKED = { [MARK_HEADER]: '1' }
/** The delays of successive events, for events out of order. */
const DELAYS_MS = [0, 60, 10, 150, 0, 30, 90]

const forever = (): Promise<never> => new Promise(() => {})

const instances = new Set<Instance>()
let fault: Fault = 'none'
let control: Promise<void> | undefined

/** One instance of our plugin, for one directory of the host. */
class Instance {
  /** Counts its calls and events; an unchanged count means that nothing has happened. */
  activity = 0
  /** The number of calls and delayed events under way, without those that hang for ever. */
  underWay = 0
  readonly #client: Client
  /** Accepted prompts whose turn has not begun yet: message id → session and time of acceptance. */
  readonly #accepted = new Map<string, { readonly sessionID: string; readonly at: number }>()
  readonly #stored = new Set<string>()
  readonly #busy = new Set<string>()
  readonly #harmed = new Set<string>()
  /** The kind of our newest message in each session. */
  readonly #sent = new Map<string, CallName>()
  /** The number of error events of each session. */
  readonly #errors = new Map<string, number>()
  #marks = 0
  #marked = 0
  #events = 0

  constructor(client: Client) {
    this.#client = client
  }

  /** Wraps the host's client for our plugin: counts each call, and injects the current fault. */
  wrap<Target extends object>(target: Target, path: readonly string[] = []): Target {
    return new Proxy(target, {
      get: (inner, key) => {
        const value: unknown = Reflect.get(inner, key, inner)
        if (typeof key !== 'string') return value
        if (typeof value === 'function')
          return (...args: unknown[]) => this.#call([...path, key], args, () => value.apply(inner, args))
        return typeof value === 'object' && value !== null ? this.wrap(value, [...path, key]) : value
      },
    })
  }

  async #call(path: readonly string[], args: readonly unknown[], run: () => unknown): Promise<unknown> {
    const request = (args[0] ?? {}) as CallRequest
    const name = nameOf(path.join('.'), request)
    const sessionID = request.path?.id ?? ''
    this.activity += 1
    if (name === 'prompt' || name === 'notice') this.#sent.set(sessionID, name)
    if (fault === `${name} fails`) throw new Error('the connection was reset')
    const isHarmed = name !== 'other' && fault.startsWith(`${name} `)
    const isFirst = (): boolean =>
      name === 'status' || name === 'record' || this.#isFirst(`${name} ${sessionID}`)
    if (isHarmed && fault.endsWith('hangs') && isFirst()) return forever()
    if (isHarmed && fault.endsWith('is refused') && isFirst()) request.body = { parts: 7 }
    const errors = this.#errors.get(sessionID)
    const result = await this.#during(async () => {
      const answer = (await run()) as { readonly error?: unknown }
      const messageID = request.body?.messageID
      // The error event of a refused message can arrive before the answer of the call.
      const isRefused = answer.error !== undefined || this.#errors.get(sessionID) !== errors
      if (messageID !== undefined && !isRefused && !this.#stored.has(messageID))
        this.#accepted.set(messageID, { sessionID, at: Date.now() })
      return answer
    })
    return isHarmed && fault.endsWith('loses its answer') && isFirst() ? forever() : result
  }

  #isFirst(what: string): boolean {
    const isKnown = this.#harmed.has(what)
    this.#harmed.add(what)
    return !isKnown
  }

  hooks(inner: Hooks): Hooks {
    return {
      ...inner,
      event: async (told) => {
        if (this.#saw(told.event as unknown as Event) === 'a mark' || fault === 'events are lost') return
        if (fault === 'events are out of order') {
          await this.#during(() => sleep(DELAYS_MS[this.#events++ % DELAYS_MS.length]))
        }
        if (fault === 'idle is held' && saysIdle(told.event as unknown as Event))
          await this.#during(() => within(Infinity, () => fault !== 'idle is held'))
        await inner.event?.(told)
        if (fault === 'events are doubled') await inner.event?.(told)
      },
      'chat.message': async (message, output) => {
        await this.#during(() => inner['chat.message']?.(message, output))
        const { sessionID } = message
        // A throw in the hook loses the message that the host has already accepted (contract 1.13).
        if (fault === `${this.#sent.get(sessionID)} is swallowed` && this.#isFirst(`swallowed ${sessionID}`))
          throw new Error('not today')
      },
      dispose: async () => {
        instances.delete(this)
        await inner.dispose?.()
      },
    }
  }

  async #during<Result>(work: () => Result): Promise<Awaited<Result>> {
    this.underWay += 1
    try {
      return await work()
    } finally {
      this.underWay -= 1
      this.activity += 1
    }
  }

  #saw(event: Event): 'a mark' | 'other' {
    switch (event.type) {
      case 'session.status': {
        const { sessionID, status } = event.properties
        if (status.type === 'idle') this.#busy.delete(sessionID)
        else this.#busy.add(sessionID)
        break
      }
      case 'session.error': {
        const { sessionID: failed = '' } = event.properties
        this.#errors.set(failed, (this.#errors.get(failed) ?? 0) + 1)
        // The host stores nothing of a message that it refuses after accepting it (contract 1.12, 1.13).
        for (const [messageID, { sessionID }] of this.#accepted)
          if (sessionID === failed) this.#accepted.delete(messageID)
        break
      }
      case 'message.updated':
        if (event.properties.info.role === 'user') this.#stored.add(event.properties.info.id)
        else this.#accepted.delete(event.properties.info.parentID)
        break
      case 'tui.command.execute': {
        const [, mark] = MARK.exec(event.properties.command) ?? []
        if (mark === undefined) break
        this.#marked = Number(mark)
        return 'a mark'
      }
      default:
    }
    return 'other'
  }

  /**
   * Resolves when all events so far have arrived: the host sends them in order, and ours is the last. A command of the
   * terminal UI is the cheapest event that a plugin can send: nothing is stored, and nobody obeys an unknown one.
   */
  async hasHeard(): Promise<void> {
    const mark = (this.#marks += 1)
    const properties = { command: `driver.mark.${mark}` }
    const body = { type: 'tui.command.execute' as const, properties }
    const { error } = await this.#client.tui.publish({ body, headers: MARKED })
    if (error !== undefined) return
    await within(EVENT_MS, () => this.#marked >= mark || !instances.has(this))
  }

  get isIdle(): boolean {
    const now = Date.now()
    for (const [messageID, { sessionID, at }] of this.#accepted) {
      const hasBegun = this.#stored.has(messageID) && this.#busy.has(sessionID)
      if (hasBegun || now - at > TURN_BEGINS_MS) this.#accepted.delete(messageID)
    }
    return this.underWay === 0 && this.#accepted.size === 0
  }
}

function saysIdle({ type, properties }: Event): boolean {
  return type === 'session.status' && properties.status.type === 'idle'
}

interface CallRequest {
  readonly path?: { readonly id?: string }
  body?: { readonly messageID?: string; readonly parts?: unknown }
}

/** Returns the name of a call of our plugin. */
function nameOf(method: string, { body }: CallRequest): CallName {
  switch (method) {
    case 'session.status':
      return 'status'
    case 'session.update':
      return 'record'
    case 'session.promptAsync':
      return JSON.stringify(body?.parts).includes('<background_task ') ? 'notice' : 'prompt'
    default:
      return 'other'
  }
}

async function within(ms: number, isSo: () => boolean): Promise<void> {
  const end = Date.now() + ms
  while (!isSo() && Date.now() < end) await sleep(LOOK_MS)
}

const activity = (): number => [...instances].reduce((sum, instance) => sum + instance.activity, 0)

async function areIdle(): Promise<void> {
  for (;;) {
    const before = activity()
    // Let the plugin continue after a resolved call before the next check.
    await sleep(0)
    await within(Infinity, () => [...instances].every(({ isIdle }) => isIdle))
    await sleep(0)
    if (activity() === before) return
  }
}

async function settle(): Promise<void> {
  for (;;) {
    const before = activity()
    await Promise.all([...instances].map((instance) => instance.hasHeard()))
    await areIdle()
    if (activity() === before) return
  }
}

async function drain(ms: number): Promise<void> {
  const end = systemClock.monotonic() + ms
  const nextAt = (): number => systemClock.nextAt ?? Infinity
  await settle()
  if (nextAt() > end) return
  while (nextAt() <= end) {
    systemClock.skipTo(nextAt())
    await areIdle()
  }
  await settle()
}

async function pass(ms: number): Promise<void> {
  const end = systemClock.monotonic() + ms
  await drain(ms)
  // No timer is due until then.
  systemClock.skipTo(end)
}

async function obey(request: ControlRequest): Promise<void> {
  switch (request.type) {
    case 'drain':
      return drain(request.ms)
    case 'pass':
      return pass(request.ms)
    case 'freeze':
      systemClock.freeze()
      return
    case 'thaw':
      systemClock.thaw()
      return
    case 'setTime':
      systemClock.set(request.ms)
      return
    case 'fault':
      fault = request.fault
  }
}

/** Starts the control server for all directories of the process, with which it ends. */
async function listen(directory: string): Promise<void> {
  const http = createServer((request, response) => {
    const answer = async (): Promise<object> => {
      await obey(JSON.parse(await text(request)) as ControlRequest)
      return {}
    }
    answer()
      .catch((error: unknown) => ({ threw: String(error) }))
      .then((said) => response.end(JSON.stringify(said)))
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const file = join(directory, `${process.pid}`)
  writeFileSync(`${file}.new`, `${(http.address() as AddressInfo).port}`)
  renameSync(`${file}.new`, file)
}

export default {
  id: 'driven',
  async server(input: PluginInput, options?: Record<string, unknown>): Promise<Hooks> {
    const { plugin, options: inner, directory } = options as unknown as DrivenOptions
    await (control ??= listen(directory))
    const instance = new Instance(input.client)
    const { default: wrapped } = (await import(plugin)) as { default: PluginModule }
    const hooks = await wrapped.server({ ...input, client: instance.wrap(input.client) }, { ...inner })
    instances.add(instance)
    return instance.hooks(hooks)
  },
} satisfies PluginModule
