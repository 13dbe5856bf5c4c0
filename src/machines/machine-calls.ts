/** Calls to OpenCode on another machine: each has a time limit, and fails with a `HostError`. */
import { createOpencodeClient, type OpencodeClient } from '@opencode-ai/sdk/client'
import type { Clock } from '../clock.ts'
import type { Options } from '../config.ts'
import { errorText, HostError } from '../host/opencode.ts'

export type MachineOptions = Options['machines'][string]

export const CALL_LIMIT_MS = 15_000

export interface Answer {
  readonly data?: unknown
  readonly error?: unknown
  readonly response?: Response
}

export class MachineCalls {
  readonly client: OpencodeClient
  readonly #name: string
  readonly #clock: Clock

  constructor(name: string, options: MachineOptions, clock: Clock) {
    this.#name = name
    this.#clock = clock
    const { url, directory } = options
    this.client = createOpencodeClient({ baseUrl: url, directory, headers: authorizationOf(options) })
  }

  /** Calls an endpoint that the client does not have. */
  get(url: string, limitMs: number): Promise<unknown> {
    const { _client: raw } = this.client as unknown as {
      readonly _client: { get(request: object): Promise<Answer> }
    }
    return this.answered(url, (signal) => raw.get({ url, signal }), limitMs)
  }

  /** Makes a call of the client within a time limit. Rejects with a `HostError`. */
  async answered(
    name: string,
    call: (signal: AbortSignal) => Promise<Answer>,
    limitMs = CALL_LIMIT_MS,
  ): Promise<unknown> {
    const limit = new AbortController()
    const stopTimer = this.#clock.after(limitMs, () =>
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
      throw new HostError('noAnswer', `${this.#name} could not be reached for ${name}: ${errorText(error)}`)
    } finally {
      stopTimer()
    }
  }
}

/** Returns why a call failed. */
export function reasonOf(error: unknown): HostError['reason'] {
  return error instanceof HostError ? error.reason : 'refused'
}

/** Whether the machine has not answered, or refuses until someone corrects its password. */
export function isUnanswered(error: unknown): boolean {
  const reason = reasonOf(error)
  return reason === 'noAnswer' || reason === 'unauthorized'
}

/** Returns the header with the password that the environment holds; none without one. */
function authorizationOf({ passwordEnv }: MachineOptions): Readonly<Record<string, string>> {
  const secret = process.env[passwordEnv] ?? ''
  return secret === ''
    ? {}
    : { authorization: `Basic ${Buffer.from(`opencode:${secret}`).toString('base64')}` }
}
