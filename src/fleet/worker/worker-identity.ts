/**
 * The identity of a worker: a file with a random id, on the disk that has its sessions. The queue treats
 * each process with this id as the next one of the worker, and ends the claims of the one before it. So a process must not start
 * while another one has the name.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { processKey } from '../../task/owner.ts'
import { UsageError } from '../../usage-error.ts'
import { thisMachine } from '../../work/command/this-machine.ts'
import type { WorkerSettings } from './command-line.ts'

interface Holder {
  readonly pid: number
  /** See `processKey`. */
  readonly process: string
  readonly directory: string
  readonly url: string
}

/**
 * Takes a name for this process. Returns the identity, which is the same after a restart.
 * Throws a `UsageError` while another process has the name.
 */
export function takeName({
  name,
  directory,
  url,
}: Pick<WorkerSettings, 'name' | 'directory' | 'url'>): string {
  const file = join(dirname(thisMachine.root), 'workers', name)
  const holderFile = join(dirname(thisMachine.root), 'worker-processes', name)
  for (const path of [file, holderFile]) mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const holder = holderIn(holderFile)
  if (holder && isAlive(holder))
    throw new UsageError(
      `worker ${name} runs already, as process ${holder.pid}, in ${holder.directory} beside ${holder.url}: start this one with another --name, or end that one first (SIGTERM; it may wait for its agents, at most as long as its --drain-timeout)`,
    )
  const self: Holder = { pid: process.pid, process: processKey(process.pid) ?? '', directory, url }
  writeFileSync(holderFile, JSON.stringify(self), { mode: 0o600 })
  try {
    writeFileSync(file, randomUUID(), { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(file, 'utf8')
}

function holderIn(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Holder
  } catch {
    // No process has had the name, or a full disk has cut the file off: the queue sees a second process, too.
    return undefined
  }
}

function isAlive({ pid, process: key }: Holder): boolean {
  const now = pid === process.pid ? undefined : processKey(pid)
  return now !== undefined && (now === '' || key === '' || now === key)
}
