/** What the user of a parent does on a fake stage. */
import type { FakeStage } from './fake-stage.ts'
import { never } from './replies.ts'
import type { Reply } from './script.ts'

/** Starts a turn of the parent that this reply answers; without one it does not end by itself. */
export async function occupy(
  { clock, host, parentID }: FakeStage,
  reply: Reply | Promise<Reply> = never(),
): Promise<void> {
  const { script } = host
  host.script = (request) => (request.messages.at(-1)?.content === 'occupy' ? reply : script(request))
  host.userPrompt(parentID, 'occupy')
  await clock.advance(100)
}

/** Aborts the parent, as its user does by ESC. */
export async function interrupt({ clock, host, parentID }: FakeStage): Promise<void> {
  const aborted = host.userAbort(parentID)
  await clock.advance(400)
  await aborted
}
