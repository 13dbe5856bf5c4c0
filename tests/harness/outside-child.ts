/** The process of `outside-process.ts`: a manager that follows the events of a server. */
import { createOpencodeClient } from '@opencode-ai/sdk'
import { BackgroundManager } from '../../src/manager.ts'

export type OutsideRequest =
  | { readonly type: 'launch'; readonly parentID: string; readonly prompts: readonly string[] }
  | { readonly type: 'recover'; readonly parentID: string }

export type OutsideAnswer = { readonly lines: readonly string[] } | { readonly threw: string }

const [, , baseUrl = '', directory = '', password = ''] = process.argv
const headers = { authorization: `Basic ${btoa(`opencode:${password}`)}` }
const client = createOpencodeClient({ baseUrl, directory, headers })
const manager = new BackgroundManager({ name: 'outside process', client, directory })

async function obey(request: OutsideRequest): Promise<readonly string[]> {
  const { parentID } = request
  if (request.type === 'recover') {
    await manager.recover(parentID)
    return manager.list(parentID).map(({ id, status }) => `${id} ${status}`)
  }
  const launches = request.prompts.map((prompt) =>
    manager.launch({ parentID, agent: 'general', description: prompt, prompt }),
  )
  return (await Promise.all(launches)).map(({ id }) => id)
}

function answer(lines: Promise<readonly string[]>): void {
  lines.then(
    (told) => process.send?.({ lines: told } satisfies OutsideAnswer),
    (error: unknown) => process.send?.({ threw: String(error) } satisfies OutsideAnswer),
  )
}

process.on('message', (request: OutsideRequest) => answer(obey(request)))
answer(manager.follow().then(() => []))
