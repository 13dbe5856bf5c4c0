import type { OthersTask } from '../../manager.ts'

/** Names the other process that runs a task. */
export function processText({ owner }: OthersTask): string {
  return `another process (pid ${owner.pid} on ${owner.host})`
}
