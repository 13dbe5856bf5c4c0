/** Runs `opencode run` with one user message, and collects its output until the process ends by itself. */
import { spawn } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createHome, environment } from './home.ts'
import { opencodeBinary } from './process.ts'
import { configuration, type OpencodeOptions } from './server.ts'

export interface Run {
  /** Resolves when the process has ended, with its output and the time of its end. */
  readonly ended: Promise<{ readonly output: string; readonly code: number | null; readonly at: number }>
  kill(signal: NodeJS.Signals): void
}

/** @param words of the command line, after `opencode` */
export async function startRun(
  message: string,
  options: OpencodeOptions,
  words: readonly string[] = ['run'],
): Promise<Run> {
  const home = createHome()
  const config = { snapshot: false, ...options.config }
  writeFileSync(join(home.config, 'opencode.json'), JSON.stringify(configuration({ ...options, config })))
  // OpenCode wraps a message of the arguments in quotes (contract 10.4), so send it by stdin.
  const child = spawn(opencodeBinary(), [...words], {
    cwd: home.directory,
    env: { ...environment(home), ...options.env },
  })
  let output = ''
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (output += bytes.toString()))
  child.stdin.end(message)
  const ended = new Promise<{ output: string; code: number | null; at: number }>((resolve) => {
    child.once('close', (code) => {
      rmSync(home.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
      resolve({ output, code, at: Date.now() })
    })
  })
  return { ended, kill: (signal) => void child.kill(signal) }
}
