/** Runs a manager in a process of its own beside OpenCode, which a test can kill. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { OutsideAnswer, OutsideRequest } from './outside-child.ts'
import type { OpencodeServer } from './server.ts'

export interface OutsideProcess {
  /** Launches a task for each prompt; resolves with their ids. */
  launch(parentID: string, ...prompts: readonly string[]): Promise<readonly string[]>
  /** Recovers the tasks of a session; resolves with them as `id status`. */
  recover(parentID: string): Promise<readonly string[]>
  /** Kills the process with SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
}

/** Resolves when its manager follows the events of the server. */
export async function startOutside(
  { url, directory }: OpencodeServer,
  password = '',
): Promise<OutsideProcess> {
  const script = fileURLToPath(new URL('./outside-child.ts', import.meta.url))
  const child = fork(script, [url, directory, password], { execArgv: ['--import', 'tsx'] })
  await answerOf(child)
  const ask = (request: OutsideRequest): Promise<readonly string[]> => {
    const answer = answerOf(child)
    child.send(request)
    return answer
  }
  return {
    launch: (parentID, ...prompts) => ask({ type: 'launch', parentID, prompts }),
    recover: (parentID) => ask({ type: 'recover', parentID }),
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
  }
}

async function answerOf(child: ChildProcess): Promise<readonly string[]> {
  const [answer] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => [{ threw: 'The process outside has ended' }]),
  ])) as [OutsideAnswer]
  if ('threw' in answer) throw new Error(answer.threw)
  return answer.lines
}
