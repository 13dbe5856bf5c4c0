/** The results of OpenCode's generated client, which resolve with an error instead of rejecting. */
import { errorText, HostError } from './opencode.ts'

/** The result of one call. */
export interface SdkResult<Data> {
  data?: Data | undefined
  error?: unknown
  response?: Response
}

const UNAUTHORIZED = 'wrong or missing password. Give the client the header authorization'

/** Returns the error of a call that OpenCode has refused. */
export function refusal(name: string, error: unknown, response: Response | undefined): HostError {
  if (response?.status === 401)
    return new HostError('unauthorized', `OpenCode refused ${name}: ${UNAUTHORIZED}`)
  const reason = response?.status === 404 ? 'notFound' : 'refused'
  return new HostError(reason, `OpenCode refused ${name}: ${errorText(error)}`)
}
