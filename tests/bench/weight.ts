/** Makes child sessions heavy by copies of one message, whose making costs OpenCode seconds of CPU time for each megabyte. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { opencodeBinary } from '../harness/process.ts'
import type { OpencodeServer } from '../harness/server.ts'
import type { Contender } from './contender.ts'
import type { Scene } from './scene.ts'

/** The size of the message that is copied: a step of ten tool calls. */
const OWN_MEGABYTES = 1

/** Runs a child with one heavy message, and returns its session; the server needs `heavy-plugin.ts`. */
export async function makeWeight(scene: Scene, contender: Contender): Promise<string> {
  const { id, names } = await scene.launch(contender, 1, { weightMB: OWN_MEGABYTES })
  await scene.everyoneWaits(contender, id, 1)
  for (const name of names) scene.release(name)
  const [childID] = await childrenOf(contender.server, id)
  if (childID === undefined) throw new Error(`${id} has no child`)
  return childID
}

export async function childrenOf({ client }: OpencodeServer, id: string): Promise<readonly string[]> {
  const { data } = await client.session.children({ path: { id }, throwOnError: true })
  return data.map((session) => session.id)
}

/**
 * Adds so many megabytes to each of these sessions, after its prompt. A step that runs has read its messages before.
 *
 * @param data OpenCode's data folder
 * @param weightID the session of `makeWeight`
 */
export function addWeight(
  data: string,
  weightID: string,
  megabytes: number,
  childIDs: readonly string[],
): void {
  const script = fileURLToPath(new URL('./heavier.ts', import.meta.url))
  const words = [
    'run',
    script,
    join(data, 'opencode', 'opencode.db'),
    weightID,
    String(megabytes),
    ...childIDs,
  ]
  execFileSync(opencodeBinary(), words, {
    env: { ...process.env, BUN_BE_BUN: '1' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}
