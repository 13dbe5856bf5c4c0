/** The address of a running OpenCode server, as people give it to the package's commands. */
import { UsageError } from '../usage-error.ts'

/** The variables from which OpenCode's server and its clients read the password and the user name. */
export const PASSWORD = 'OPENCODE_SERVER_PASSWORD'
const USER = 'OPENCODE_SERVER_USERNAME'

/** Returns the URL that an option of a command line names. Throws a `UsageError`. */
export function serverURL<Text extends string | undefined>(text: Text, option = '--attach'): Text {
  if (text === undefined) return text
  const { protocol, username, password } = URL.canParse(text) ? new URL(text) : new URL('none:')
  // Errors name the URL, and models read errors.
  if (username !== '' || password !== '')
    throw new UsageError(`${option} must be without a password: set ${PASSWORD}`)
  if (/^https?:$/.test(protocol)) return text
  throw new UsageError(
    `${option} must be the URL of a server, as http://127.0.0.1:4096, and not ${JSON.stringify(text)}`,
  )
}

/** Returns the header with the password from the environment; none without a password. */
export function authorization(): Readonly<Record<string, string>> {
  const { [PASSWORD]: password = '', [USER]: user = 'opencode' } = process.env
  return password === ''
    ? {}
    : { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}
