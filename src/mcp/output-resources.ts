/** Offers the output of commands as MCP resources: one for each stream, whose URI has the task's id and the stream's name. */
import { ResourceNotFoundError, type Resource } from '@modelcontextprotocol/server'
import type { BackgroundManager } from '../manager.ts'
import type { Task } from '../task/task.ts'
import { sanitizeForModel } from '../text/sanitize.ts'

const STREAMS = ['stdout', 'stderr'] as const
type Stream = (typeof STREAMS)[number]

/** At most this many of a stream's last bytes are read. */
const LONGEST_BYTES = 1_000_000

export function uriOf(taskID: string, stream: Stream): string {
  return `command-output://${taskID}/${stream}`
}

export function urisOf(taskID: string): readonly string[] {
  return STREAMS.map((stream) => uriOf(taskID, stream))
}

export function listResources(tasks: readonly Task[]): Resource[] {
  return tasks.flatMap(({ id, kind, description, status }) =>
    kind === 'command' && status !== 'pending'
      ? STREAMS.map((stream) => ({
          uri: uriOf(id, stream),
          name: `${id} ${stream}`,
          title: `${stream} of ${description}`,
          mimeType: 'text/plain',
        }))
      : [],
  )
}

/** Reads the end of a stream. Rejects with a `ResourceNotFoundError` for a command that this session has not launched. */
export async function readResource(
  manager: BackgroundManager,
  parentID: string,
  uri: string,
): Promise<{ readonly uri: string; readonly mimeType: string; readonly text: string }> {
  const [, taskID = '', name = ''] = /^command-output:\/\/(\w+)\/(\w+)$/.exec(uri) ?? []
  const stream = STREAMS.find((each) => each === name)
  await manager.recover(parentID)
  const task = manager.get(taskID)
  if (!stream || task?.kind !== 'command' || task.parentID !== parentID) throw new ResourceNotFoundError(uri)
  const read = async (offset: number, bytes: number) =>
    (await manager.output(taskID, { piece: { stream, offset, bytes } })).piece
  const size = (await read(0, 0))?.size ?? 0
  const offset = Math.max(0, size - LONGEST_BYTES)
  const end = await read(offset, LONGEST_BYTES)
  const before = offset === 0 ? '' : `[${offset} bytes come before this]\n`
  return {
    uri,
    mimeType: 'text/plain',
    text: before + sanitizeForModel(Buffer.from(end?.bytes ?? []).toString()),
  }
}
