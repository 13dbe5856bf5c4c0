/**
 * The connection to OpenCode on another machine. It knows whether the machine answers: a machine that does not answer is unknown,
 * and nothing that runs there counts as ended.
 *
 *   in contact ⇄ lost
 *
 * `lost`: a probe of the machine itself got no answer, or the machine refused the password. A call without an answer triggers a
 * probe, because a directory there can be slow (contract 17.5) while the machine is well. While tasks are there, the link also
 * probes a silent machine, and a lost one until it answers. A loss gives up the running scripts, which may continue there: the
 * session of a script whose end was not seen is aborted, and the next script of the task ends what is left of it (`scripts.ts`).
 */
import type { Clock } from '../clock.ts'
import type { connect } from '../host/calls.ts'
import { errorText, type Opencode } from '../host/opencode.ts'
import { pause } from '../pause.ts'
import { Turns } from '../worktree/turns.ts'
import {
  CALL_LIMIT_MS,
  isUnanswered,
  MachineCalls,
  reasonOf,
  type Answer,
  type MachineOptions,
} from './machine-calls.ts'

interface Ports {
  readonly clock: Clock
  /** Passed in, so that this bundle has no copy of it. */
  readonly connect: typeof connect
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  /** Called at each change of the contact. */
  readonly onContact: (link: MachineLink) => void
}

/** The time limit of a call that only checks whether the machine answers. */
const PROBE_LIMIT_MS = 5000
/** How long a call may take before the machine is probed. */
const SLOW_MS = 5000
/** The time limit of a script there: git may fill a large tree. */
const SCRIPT_LIMIT_MS = 300_000
/** How long a machine may be silent before it is probed; OpenCode's events come every 10 s (contract 16.2). */
const SILENT_MS = 15_000
const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 10_000
/** OpenCode 1, from the version on that this plugin supports. */
const SUPPORTED = /^1\.(?:18\.(?:1[5-9]|[2-9]\d|\d{3,})|19\.|[2-9]\d\.)/

export class MachineLink {
  readonly name: string
  readonly options: MachineOptions
  /** The scripts of each task there. */
  readonly scripts = new Turns()
  /** Each answered call proves that the machine is there. */
  readonly opencode: Opencode
  readonly #ports: Ports
  readonly #calls: MachineCalls
  /** Since when the machine does not answer, and why. */
  #lost: { readonly at: number; readonly why: string } | undefined
  /** When the machine last answered or sent an event, on the monotonic clock. */
  #heardAt: number
  /** How many tasks are there. */
  #users = 0
  #cancelAsk = (): void => {}
  /** Aborted when the machine is lost. */
  #contact = new AbortController()
  /** The running probe. */
  #asking: Promise<void> | undefined
  /** Sessions for scripts whose end was not seen, or that could not be deleted. */
  readonly #leftBehind = new Set<string>()

  constructor(name: string, options: MachineOptions, ports: Ports) {
    this.name = name
    this.options = options
    this.#ports = ports
    this.#heardAt = ports.clock.monotonic()
    this.#calls = new MachineCalls(name, options, ports.clock)
    const { client } = this.#calls
    this.opencode = this.#observed(ports.connect(client, options.directory, ports.clock, CALL_LIMIT_MS))
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
      const { version } = (await this.#calls.get('/global/health', PROBE_LIMIT_MS)) as {
        readonly version?: string
      }
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

  /** Probes the machine while it is silent or lost, until the function returned is called. */
  use(): () => void {
    this.#users += 1
    if (this.#users === 1) this.#askAfter(this.#lost ? FIRST_PAUSE_MS : SILENT_MS)
    return () => {
      this.#users -= 1
      if (this.#users === 0) this.#cancelAsk()
    }
  }

  /** Resolves, after a pause, once the machine answers, or at the abort of `stop`. */
  async answers(stop: AbortSignal): Promise<void> {
    do await pause(this.#ports.clock, FIRST_PAUSE_MS, [stop])
    while (this.#lost && !stop.aborted && !this.#ports.disposal.aborted)
  }

  /** Observes an event of the machine. */
  observeEvent(): void {
    this.#heardAt = this.#ports.clock.monotonic()
  }

  /**
   * Runs a command line in the shell of a session there, and returns its output. Rejects with a `HostError`, also when the machine
   * is lost meanwhile.
   */
  async shell(sessionID: string, command: string): Promise<string> {
    const run = (limit: AbortSignal): Promise<Answer> =>
      this.#calls.client.session.shell({
        path: { id: sessionID },
        body: { agent: 'build', command },
        signal: AbortSignal.any([limit, this.#contact.signal]),
      })
    try {
      const answer = await this.#watched(() => this.#calls.answered('session.shell', run, SCRIPT_LIMIT_MS))
      const { parts } = answer as { readonly parts: readonly object[] }
      const states = parts.flatMap((part) => ('state' in part ? [part.state as { output?: string }] : []))
      return states.map(({ output = '' }) => output).join('')
    } catch (error) {
      if (isUnanswered(error)) this.#leftBehind.add(sessionID)
      throw error
    }
  }

  /** Creates a session without a parent. Rejects with a `HostError`. */
  async createSession(body: object): Promise<string> {
    // Their scripts may still run.
    for (const left of this.#leftBehind) await this.#endScript(left)
    const { id } = (await this.#watched(() =>
      this.#calls.answered('session.create', (signal) => this.#calls.client.session.create({ body, signal })),
    )) as { readonly id: string }
    return id
  }

  /** Deletes a session for scripts, now or before the next one is created. Never rejects. */
  async deleteSession(sessionID: string): Promise<void> {
    if (this.#lost) this.#leftBehind.add(sessionID)
    else if (this.#leftBehind.has(sessionID)) await this.#endScript(sessionID).catch(() => {})
    else await this.#delete(sessionID).catch(() => this.#leftBehind.add(sessionID))
  }

  /** Aborts what a session runs, which a deletion does not end (contract 18.7), and deletes it. */
  async #endScript(sessionID: string): Promise<void> {
    try {
      await this.#watched(() =>
        this.#calls.answered('session.abort', (signal) =>
          this.#calls.client.session.abort({ path: { id: sessionID }, signal }),
        ),
      )
      await this.#delete(sessionID)
    } catch (error) {
      if (isUnanswered(error)) throw error
    }
    this.#leftBehind.delete(sessionID)
  }

  #delete(sessionID: string): Promise<unknown> {
    return this.#calls.answered('session.delete', (signal) =>
      this.#calls.client.session.delete({ path: { id: sessionID }, signal }),
    )
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
    let asked: Promise<void> | undefined
    // Probe while the call waits, so that a lost machine does not make its caller wait longer.
    const cancel = this.#ports.clock.after(SLOW_MS, () => {
      asked = this.#probe(CALL_LIMIT_MS - SLOW_MS)
    })
    try {
      const result = await call()
      this.#found()
      return result
    } catch (error) {
      if (!isUnanswered(error)) this.#found()
      else if (!this.#lost) await (asked ?? this.#probe(CALL_LIMIT_MS))
      throw error
    } finally {
      cancel()
    }
  }

  /** Probes the machine itself, one probe at a time. Never rejects. */
  #probe(limitMs: number): Promise<void> {
    this.#asking ??= this.#calls
      .get('/global/health', limitMs)
      .then(
        () => this.#found(),
        (error: unknown) => (isUnanswered(error) ? this.#lose(errorText(error)) : this.#found()),
      )
      .finally(() => (this.#asking = undefined))
    return this.#asking
  }

  #found(): void {
    this.#heardAt = this.#ports.clock.monotonic()
    if (!this.#lost) return
    this.#lost = undefined
    this.#contact = new AbortController()
    this.#ports.onContact(this)
  }

  #lose(why: string): void {
    if (this.#lost) return
    this.#lost = { at: this.#ports.clock.now() - this.#silentMs, why }
    this.#contact.abort(new Error(why))
    this.#askAfter(FIRST_PAUSE_MS)
    this.#ports.onContact(this)
  }

  get #silentMs(): number {
    return this.#ports.clock.monotonic() - this.#heardAt
  }

  #askAfter(ms: number): void {
    const { clock, disposal } = this.#ports
    this.#cancelAsk()
    if (this.#users > 0 && !disposal.aborted) this.#cancelAsk = clock.after(ms, () => void this.#ask(ms))
  }

  /** Probes the machine unless it was heard a moment ago, and schedules the next probe. Never rejects. */
  async #ask(pausedMs: number): Promise<void> {
    const wasLost = this.#lost !== undefined
    if (!wasLost && this.#silentMs < SILENT_MS) return this.#askAfter(SILENT_MS - this.#silentMs)
    const limitMs = wasLost ? PROBE_LIMIT_MS : CALL_LIMIT_MS
    await this.#probe(limitMs)
    if (!this.#lost) this.#askAfter(SILENT_MS)
    else this.#askAfter(wasLost ? Math.min(LONGEST_PAUSE_MS, 2 * pausedMs) : FIRST_PAUSE_MS)
  }
}
