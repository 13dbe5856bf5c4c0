/** Runs a worker in this process: `opencode-background worker`. */
import type { Log } from '../../host/log.ts'
import { errorText } from '../../host/opencode.ts'
import { UsageError } from '../../usage-error.ts'
import { databaseURL } from '../database-url.ts'
import type { Claims } from '../port.ts'
import { HELP, parseWorkerLine } from './command-line.ts'
import { runWorker } from './run-worker.ts'

const PREFIX = 'opencode-background worker: '

/**
 * Resolves with the exit code: 0 after a drain, 1 if another process of the worker has begun, 2 for a mistake.
 *
 * @param open opens the queue that `--db` names; by default that of a PostgreSQL
 */
export async function main(
  args: readonly string[],
  open: (db: string) => Promise<Claims> = openDatabase,
): Promise<number> {
  const drain = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => drain.abort())
  try {
    const settings = parseWorkerLine(args)
    if (!settings) {
      process.stdout.write(HELP)
      return 0
    }
    const log = errorLog(settings.debug)
    const { type } = await runWorker(settings, await open(settings.db), log, drain.signal)
    process.stdout.write(`${PREFIX}${type}\n`)
    return type === 'replaced' ? 1 : 0
  } catch (error) {
    const hint = error instanceof UsageError ? `${PREFIX}--help lists the options.\n` : ''
    process.stderr.write(`${PREFIX}${errorText(error)}\n${hint}`)
    return 2
  }
}

async function openDatabase(db: string): Promise<Claims> {
  const url = databaseURL(db)
  // The client of PostgreSQL is a bundle of its own.
  const { openClaims } = await import('../postgres/postgres-fleet.ts')
  return openClaims(url)
}

function errorLog(isDebug: boolean): Log {
  const write = (message: string): void => {
    process.stderr.write(`${PREFIX}${message}\n`)
  }
  return { debug: isDebug ? write : () => {}, warn: write }
}
