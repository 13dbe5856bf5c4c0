/**
 * Answers two kinds of lines that the SDK does not answer. It drops lines that are no JSON-RPC messages, so that their sender
 * would wait for ever. It checks the revision of MCP only in the first request, not in later ones.
 */
import { PROTOCOL_VERSION_META_KEY, UnsupportedProtocolVersionError } from '@modelcontextprotocol/server'
import { PassThrough, type Readable } from 'node:stream'
import { createInterface } from 'node:readline'
import * as z from 'zod/mini'

const PARSE_ERROR = -32700
const INVALID_REQUEST = -32600

const id = z.union([z.string(), z.int()])
/** Matches a request, a notification or a response. Contains only the fields that the SDK requires. */
const messageSchema = z.intersection(
  z.object({ jsonrpc: z.literal('2.0'), id: z.exactOptional(id) }),
  z.union([
    z.object({ method: z.string() }),
    z.object({ result: z.looseObject({}) }),
    z.object({ error: z.looseObject({}) }),
  ]),
)

/** The revisions of MCP that each request names. `initialize` negotiates the earlier ones. */
const REVISIONS: readonly string[] = ['2026-07-28']

const versionedSchema = z.object({
  id,
  params: z.object({ _meta: z.object({ [PROTOCOL_VERSION_META_KEY]: z.string() }) }),
})

/**
 * Returns a stream of those lines that are valid messages. It ends with `input`.
 *
 * @param answer sends a line
 */
export function checkedInput(input: Readable, answer: (line: string) => void): Readable {
  const messages = new PassThrough()
  const lines = createInterface({ input, crlfDelay: Infinity })
  lines.on('line', (line) => {
    if (line.trim() === '') return
    const error = errorOf(line)
    if (error) answer(`${JSON.stringify({ jsonrpc: '2.0', ...error })}\n`)
    else messages.write(`${line}\n`)
  })
  lines.on('close', () => messages.end())
  return messages
}

function errorOf(line: string): { readonly id: unknown; readonly error: object } | undefined {
  let message: unknown
  try {
    message = JSON.parse(line)
  } catch (error) {
    return {
      id: null,
      error: { code: PARSE_ERROR, message: `This line is no JSON: ${(error as Error).message}` },
    }
  }
  if (messageSchema.safeParse(message).success) return versionError(message)
  const given = z.object({ id }).safeParse(message)
  const text =
    'This is no JSON-RPC 2.0 request: an object with "jsonrpc": "2.0", "id" and "method" was expected.'
  return { id: given.success ? given.data.id : null, error: { code: INVALID_REQUEST, message: text } }
}

function versionError(message: unknown): ReturnType<typeof errorOf> {
  const versioned = versionedSchema.safeParse(message)
  if (!versioned.success) return undefined
  const requested = versioned.data.params._meta[PROTOCOL_VERSION_META_KEY]
  if (REVISIONS.includes(requested)) return undefined
  const error = new UnsupportedProtocolVersionError({ supported: [...REVISIONS], requested })
  return { id: versioned.data.id, error: { code: error.code, message: error.message, data: error.data } }
}
