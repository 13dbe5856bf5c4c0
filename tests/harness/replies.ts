/** Answers of a scripted model that many tests need. */
import type { Reply, Script } from './script.ts'

/** The model calls a tool. */
export const READ: Reply = { tools: [{ name: 'read', args: { filePath: 'README.md' } }] }

/** The request is refused for good. */
export const BAD: Reply = { status: 400, text: 'bad' }

/** Returns a script that answers in this order, then `ok` for ever. */
export function inOrder(...replies: readonly (Reply | Promise<Reply>)[]): Script {
  let next = 0
  return () => replies[next++] ?? { text: 'ok' }
}

/** Returns a reply that waits until the test releases it. */
export function heldReply(): { readonly reply: Promise<Reply>; readonly release: (reply: Reply) => void } {
  let release!: (reply: Reply) => void
  const reply = new Promise<Reply>((resolve) => {
    release = resolve
  })
  return { reply, release }
}

export const never = (): Promise<Reply> => new Promise(() => {})
