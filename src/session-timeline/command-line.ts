/** The command line of `opencode-background timeline`. */
import { FLAG, parsedLine, TEXT } from '../command-line.ts'
import { serverURL } from '../host/server-address.ts'
import { UsageError } from '../usage-error.ts'

export const HELP = `opencode-background timeline: writes the timeline of a session's background tasks as one HTML file

  opencode-background timeline [SESSION] [options]

  SESSION       the session that launched the tasks (default: the newest one of this directory)
  --attach URL  read from the OpenCode server at this URL, with the password of OPENCODE_SERVER_PASSWORD
                (default: a server of its own, which it starts and stops)
  -o FILE       the file to write (default: timeline-SESSION.html here)
  --open        open the file in a browser
  --redact      leave out titles, descriptions, prompts, results, paths and stories
  --help        show this text
`

export interface TimelineSettings {
  readonly sessionID: string | undefined
  readonly attachTo: string | undefined
  readonly file: string | undefined
  readonly open: boolean
  readonly redact: boolean
}

/** Returns the settings; `undefined` if the help is wanted. Throws a `UsageError` for a mistake. */
export function parseTimelineLine(args: readonly string[]): TimelineSettings | undefined {
  const { values, positionals } = parsedLine({
    args: [...args],
    allowPositionals: true,
    options: {
      attach: TEXT,
      output: { ...TEXT, short: 'o' },
      open: FLAG,
      redact: FLAG,
      help: FLAG,
    },
  })
  if (values.help) return undefined
  const [sessionID, ...more] = positionals
  if (more.length > 0) throw new UsageError(`one session at a time, and not also ${more.join(', ')}`)
  if (sessionID !== undefined && !sessionID.startsWith('ses_'))
    throw new UsageError(
      `SESSION must be the id of a session, as ses_…, and not ${JSON.stringify(sessionID)}`,
    )
  if (values.output === '') throw new UsageError('-o needs the path of a file')
  return {
    sessionID,
    attachTo: serverURL(values.attach),
    file: values.output,
    open: values.open ?? false,
    redact: values.redact ?? false,
  }
}
