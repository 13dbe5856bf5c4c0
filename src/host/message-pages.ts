/** Reads the newest messages of a session in pages, because OpenCode does nothing else while it makes a large one. */
import type { StoredMessage } from './opencode.ts'
import { refusal, type SdkResult } from './sdk-result.ts'

/** The number of messages in a page, and in the first page, which shows how large messages are. */
const PAGE = 16
const FIRST_PAGE = 2
/** The target size of a page, in characters: OpenCode does nothing else while it makes one. */
const PAGE_LENGTH = 1_000_000

interface Page {
  readonly messages: readonly StoredMessage[]
  readonly length: number
  /** The cursor of the page before; `undefined` for the oldest page. */
  readonly before: string | undefined
}

type Refused = Pick<SdkResult<never>, 'error' | 'response'>

export function pageOf({ data = '[]', error, response }: SdkResult<string>): Page | Refused {
  if (error !== undefined) return { error, ...(response && { response }) }
  const before = response?.headers.get('x-next-cursor') ?? undefined
  return { messages: JSON.parse(data) as StoredMessage[], length: data.length, before }
}

/**
 * Lets the event loop turn once. OpenCode answers a plugin's calls in the plugin's own process, without such a turn, so that a
 * series of calls would block everything else.
 */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/**
 * Reads the newest messages of a session in pages, the newest page first; the size of each page decides how many messages the
 * next one has. OpenCode refuses a page with a message that fails its own schema check, which it makes of the last page alone
 * (seen): a refused page is halved until it is accepted.
 */
export async function readPages(
  get: (page: { readonly limit: number; readonly before?: string }) => Promise<Page | Refused>,
  count: number,
  firstPage = FIRST_PAGE,
): Promise<readonly StoredMessage[]> {
  const messages: StoredMessage[] = []
  let most = Math.max(PAGE, firstPage)
  let limit = Math.min(firstPage, count)
  let before: string | undefined
  for (;;) {
    await nextTurn()
    const page = await get({ limit, ...(before !== undefined && { before }) })
    if ('messages' in page) {
      messages.unshift(...page.messages)
      before = page.before
      if (messages.length === count || before === undefined) return messages
      const light = Math.floor((PAGE_LENGTH * page.messages.length) / page.length)
      // Grows by steps, because heavy messages may follow light ones.
      limit = Math.min(most, Math.max(1, light), 2 * limit, count - messages.length)
    } else if (page.response?.status === 400 && limit > 1) {
      limit = Math.floor(limit / 2)
      most = limit
    }
    // The oldest message is the one that cannot be read.
    else if (page.response?.status === 400 && before !== undefined) return messages
    else throw refusal('session.messages', page.error, page.response)
  }
}
