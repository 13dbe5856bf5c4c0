/** Unwraps `{ data, error }` of a call, and limits its time, because OpenCode may never answer. */
import type { Clock } from '../clock.ts'
import { errorText, HostError } from './opencode.ts'
import { refusal, type SdkResult } from './sdk-result.ts'

/** Makes a call of this name, and resolves with its data. Rejects with a `HostError`. */
type LimitedCall = <Data>(
  name: string,
  run: (signal: AbortSignal) => Promise<SdkResult<Data>>,
) => Promise<Data>

export function callsWithin(limitMs: number, clock: Clock): LimitedCall {
  return async (name, run) => {
    const controller = new AbortController()
    let stopTimer = (): void => {}
    const limit = new Promise<never>((_, reject) => {
      stopTimer = clock.after(limitMs, () => {
        reject(new HostError('noAnswer', `OpenCode did not answer ${name} within ${limitMs} ms`))
        controller.abort()
      })
    })
    try {
      const result = await Promise.race([run(controller.signal), limit])
      if (result.error !== undefined) throw refusal(name, result.error, result.response)
      return result.data as NonNullable<typeof result.data>
    } catch (error) {
      if (error instanceof HostError) throw error
      throw new HostError('noAnswer', `OpenCode could not be reached for ${name}: ${errorText(error)}`)
    } finally {
      stopTimer()
    }
  }
}

/**
 * Resolves or rejects as `answer` does, or rejects at the abort; the stream of an answer that comes after that is cancelled. In Node,
 * the abort does not end a request that was garbage-collected (seen).
 */
export async function unlessAborted(
  answer: Promise<SdkResult<unknown>>,
  signal: AbortSignal,
): Promise<SdkResult<unknown>> {
  let abort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = reject
  })
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([answer, aborted])
  } catch (error) {
    answer.then(({ data }) => (data as ReadableStream | undefined)?.cancel()).catch(() => {})
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
