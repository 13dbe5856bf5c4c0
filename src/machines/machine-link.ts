/**
 * The connection to OpenCode on another machine. It knows whether the machine answers: a machine that does not answer is unknown,
 * and nothing that runs there counts as ended.
 *
 *   in contact ⇄ lost
 *
 * `lost`: a call got no answer, or a refusal that a restart or a password explains. While tasks are there, the link asks again
 * until the machine answers.
 */
import { createOpencodeClient, type OpencodeClient } from '@opencode-ai/sdk/client'
import type { Clock } from '../clock.ts'
import type { Options } from '../config.ts'
import { errorText, HostError, type connect, type Opencode } from '../host/opencode.ts'

export type MachineOptions = Options['machines'][string]

interface Ports {
  readonly clock: Clock
  /** Passed in, because the rest of the plugin tests errors by the class of its own bundle. */
  readonly connect: typeof connect
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  /** Called at each change of the contact. */
  readonly onContact: (link: MachineLink) => void
}

/** The time limit of a call that only asks whether the machine is there. */
const PROBE_LIMIT_MS = 5000
const CALL_LIMIT_MS = 15_000
/** The time limit of a script there: git may fill a large tree. */
const SCRIPT_LIMIT_MS = 300_000
const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 10_000
/** OpenCode 1, from the version on that this plugin supports. */
const SUPPORTED = /^1\.(?:18\.(?:1[5-9]|[2-9]\d|\d{3,})|19\.|[2-9]\d\.)/

export class MachineLink {
  readonly name: string
  readonly options: MachineOptions
  /** Each call shows whether the machine answers. */
  readonly opencode: Opencode
  readonly #ports: Ports
  readonly #client: OpencodeClient
  /** Since when the machine does not answer, and why. */
  #lost: { readonly at: number; readonly why: string } | undefined
  #heardAt: number
  /** How many tasks are there. */
  #users = 0
  #cancelProbe = (): void => {}

  constructor(name: string, options: MachineOptions, ports: Ports) {
    this.name = name
    this.options = options
    this.#ports = ports
    this.#heardAt = ports.clock.now()
    const { url, directory } = options
    this.#client = createOpencodeClient({ baseUrl: url, directory, headers: authorizationOf(options) })
    this.opencode = this.#observed(ports.connect(this.#client, directory, ports.clock, CALL_LIMIT_MS))
  }

  get lost(): { readonly at: number; readonly why: string } | undefined {
    return this.#lost
  }

  /** Returns why no task can start there; `undefined` if one can. */
  async refusal(): Promise<string | undefined> {
    const { url, passwordEnv } = this.options
    if (passwordEnv !== '' && !process.env[passwordEnv])
      return `the environment variable ${passwordEnv} with its password is not set`
    try {
      const { version } = (await this.#get('/global/health', PROBE_LIMIT_MS)) as { readonly version?: string }
      if (!SUPPORTED.test(version ?? ''))
        return `it runs OpenCode ${version ?? 'of an unknown version'}; install 1.18.15 or a later 1.x there`
      await this.opencode.statuses()
      return undefined
    } catch (error) {
      const reason = reasonOf(error)
      if (reason === 'unauthorized')
        return `its server has a password, and ${passwordEnv === '' ? 'the option passwordEnv is not set' : `${passwordEnv} has another one`}`
      if (reason !== 'noAnswer') return errorText(error)
      return `it does not answer at ${url}; start \`opencode serve\` there, and check the tunnel`
    }
  }

  /** Keeps asking for a lost machine until the function returned is called. */
  use(): () => void {
    this.#users += 1
    return () => {
      this.#users -= 1
      if (this.#users === 0) this.#cancelProbe()
    }
  }

  /** Resolves after a moment, when the machine answers. Resolves too at the abort of `stop`. */
  async answers(stop: AbortSignal): Promise<void> {
    do await this.#pause(FIRST_PAUSE_MS, stop)
    while (this.#lost && !stop.aborted && !this.#ports.disposal.aborted)
  }

  /** Observes an event of the machine. */
  observeEvent(): void {
    this.#heardAt = this.#ports.clock.now()
  }

  /** Runs a command line in the shell of a session there, and returns its output. Rejects with a `HostError`. */
  async shell(sessionID: string, command: string): Promise<string> {
    return this.#watched(async () => {
      const answer = (await this.#answered(
        'session.shell',
        (signal) =>
          this.#client.session.shell({ path: { id: sessionID }, body: { agent: 'build', command }, signal }),
        SCRIPT_LIMIT_MS,
      )) as { readonly parts: readonly object[] }
      const states = answer.parts.flatMap((part) =>
        'state' in part ? [part.state as { output?: string }] : [],
      )
      return states.map(({ output = '' }) => output).join('')
    })
  }

  /** Creates a session without a parent. Rejects with a `HostError`. */
  async createSession(body: object): Promise<string> {
    const { id } = (await this.#watched(() =>
      this.#answered('session.create', (signal) => this.#client.session.create({ body, signal })),
    )) as { readonly id: string }
    return id
  }

  /** Deletes a session. Never rejects. */
  async deleteSession(sessionID: string): Promise<void> {
    await this.#answered('session.delete', (signal) =>
      this.#client.session.delete({ path: { id: sessionID }, signal }),
    ).catch(() => {})
  }

  #get(url: string, limitMs: number): Promise<unknown> {
    const { _client: raw } = this.#client as unknown as {
      readonly _client: { get(request: object): Promise<Answer> }
    }
    return this.#answered(url, (signal) => raw.get({ url, signal }), limitMs)
  }

  async #answered(
    name: string,
    call: (signal: AbortSignal) => Promise<Answer>,
    limitMs = CALL_LIMIT_MS,
  ): Promise<unknown> {
    const limit = new AbortController()
    const stopTimer = this.#ports.clock.after(limitMs, () =>
      limit.abort(new Error(`no answer within ${limitMs} ms`)),
    )
    try {
      const { data, error, response } = await call(limit.signal)
      if (response?.status === 401) throw new HostError('unauthorized', `${name}: wrong or missing password`)
      if (error !== undefined)
        throw new HostError(response?.status === 404 ? 'notFound' : 'refused', `${name}: ${errorText(error)}`)
      return data
    } catch (error) {
      if (error instanceof HostError) throw error
      throw new HostError('noAnswer', `${this.name} could not be reached for ${name}: ${errorText(error)}`)
    } finally {
      stopTimer()
    }
  }

  /** Returns the port with each call observed. */
  #observed(opencode: Opencode): Opencode {
    const observed = Object.entries(opencode).map(([name, call]: [string, (...args: never[]) => unknown]) => [
      name,
      name === 'include'
        ? call
        : (...args: never[]) => this.#watched(() => call(...args) as Promise<unknown>),
    ])
    return Object.fromEntries(observed) as Opencode
  }

  async #watched<Result>(call: () => Promise<Result>): Promise<Result> {
    try {
      const result = await call()
      this.#found()
      return result
    } catch (error) {
      if (isUnanswered(error)) this.#lose(errorText(error))
      else this.#found()
      throw error
    }
  }

  #found(): void {
    this.#heardAt = this.#ports.clock.now()
    if (!this.#lost) return
    this.#lost = undefined
    this.#cancelProbe()
    this.#ports.onContact(this)
  }

  #lose(why: string): void {
    if (this.#lost) return
    this.#lost = { at: this.#heardAt, why }
    this.#ports.onContact(this)
    this.#probeAfter(FIRST_PAUSE_MS)
  }

  #probeAfter(ms: number): void {
    const { clock, disposal } = this.#ports
    if (this.#users === 0 || disposal.aborted) return
    this.#cancelProbe()
    this.#cancelProbe = clock.after(ms, () => {
      void this.#watched(() => this.#get('/session/status', PROBE_LIMIT_MS)).then(
        () => undefined,
        () => this.#probeAfter(Math.min(LONGEST_PAUSE_MS, 2 * ms)),
      )
    })
  }

  #pause(ms: number, stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        cancel()
        stop.removeEventListener('abort', finish)
        resolve()
      }
      const cancel = this.#ports.clock.after(ms, finish)
      stop.addEventListener('abort', finish)
    })
  }
}

/** Returns why a call of any bundle failed. */
function reasonOf(error: unknown): HostError['reason'] {
  return (error as Partial<HostError>).reason ?? 'refused'
}

/** Whether the machine has not answered, or refuses until someone corrects its password. */
export function isUnanswered(error: unknown): boolean {
  const reason = reasonOf(error)
  return reason === 'noAnswer' || reason === 'unauthorized'
}

interface Answer {
  readonly data?: unknown
  readonly error?: unknown
  readonly response?: Response
}

/** Returns the header with the password that the environment holds; none without one. */
function authorizationOf({ passwordEnv }: MachineOptions): Readonly<Record<string, string>> {
  const secret = process.env[passwordEnv] ?? ''
  return secret === ''
    ? {}
    : { authorization: `Basic ${Buffer.from(`opencode:${secret}`).toString('base64')}` }
}
