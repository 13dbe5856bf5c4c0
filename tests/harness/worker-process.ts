/** Starts a worker as a process of its own, which a test can kill. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface WorkerProcess {
  readonly pid: number
  /** What it has written. */
  readonly output: string
  /** Sends a signal, if there is one; resolves when the process is gone. */
  end(signal?: NodeJS.Signals): Promise<void>
}

export interface WorkerOptions {
  /** Arguments of the command line. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** A command before it, as `ip netns exec NAME`. */
  readonly within?: readonly string[]
}

/** @param queue the URL of its queue */
export function startWorker(queue: string, { args, env, within = [] }: WorkerOptions): WorkerProcess {
  const script = fileURLToPath(new URL('./worker-child.ts', import.meta.url))
  return startProgram([...within, process.execPath, '--import', 'tsx', script, queue, ...args], env)
}

export function startProgram(
  [command = '', ...rest]: readonly string[],
  env: WorkerOptions['env'],
): WorkerProcess {
  const child = spawn(command, rest, { env: { ...process.env, ...env } })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (output += data.toString()))
  // Its output is complete then, which it is not at its exit.
  const gone = once(child, 'close')
  return {
    pid: child.pid ?? 0,
    get output() {
      return output
    },
    async end(signal) {
      if (signal && child.exitCode === null && child.signalCode === null) child.kill(signal)
      await gone
    },
  }
}
