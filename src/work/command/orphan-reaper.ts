/**
 * Enforces the time limits of orphaned commands until a recovery of their parent session adopts them. The reaper changes
 * neither their owner nor the notices owed for them. An orphan without a limit continues to run.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../clock.ts'
import { isRunning, readOwner, readProcessIdentity, startedAt } from './files.ts'
import type { Machine } from './this-machine.ts'
import { listeningPort } from './listening-port.ts'
import { attach } from './process.ts'
import { errorText } from '../../host/opencode.ts'
import type { Log } from '../../host/log.ts'
import type { Owners } from '../../task/owner.ts'
import { leftOf } from '../../task/time-limit.ts'

interface Ports {
  readonly clock: Clock
  readonly log: Log
  readonly machine: Machine
  readonly owners: Owners
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** Scans repeat, because a process may be killed at any time. A scan reads a few files. */
const BETWEEN_SCANS_MS = 60_000

export class OrphanReaper {
  readonly #ports: Ports
  readonly #killGraceMs: number
  readonly #limited = new Map<string, () => void>()
  #scannedAt = Number.NEGATIVE_INFINITY

  constructor(ports: Ports, killGraceMs: number) {
    this.#ports = ports
    this.#killGraceMs = killGraceMs
    ports.disposal.addEventListener('abort', () => this.#stop(), { once: true })
  }

  /** Scans for orphans, at most once per `BETWEEN_SCANS_MS`. Never rejects. */
  async scan(): Promise<void> {
    const { clock, log, machine } = this.#ports
    if (clock.monotonic() - this.#scannedAt < BETWEEN_SCANS_MS) return
    this.#scannedAt = clock.monotonic()
    try {
      const names = await readdir(machine.root).catch(() => [])
      if (this.#ports.disposal.aborted) return
      for (const name of names) this.#adoptLimit(name)
    } catch (error) {
      log.warn(`could not scan for orphaned commands: ${errorText(error)}`)
    }
  }

  #stop(): void {
    for (const cancel of this.#limited.values()) cancel()
    this.#limited.clear()
  }

  #adoptLimit(taskID: string): void {
    const { clock, log, machine } = this.#ports
    const directory = join(machine.root, taskID)
    if (this.#limited.has(taskID) || !isRunning(directory) || !this.#isOrphan(directory)) return
    const [identity, from] = [readProcessIdentity(directory), startedAt(directory)]
    const { timeoutMs = 0, timeoutIsDefault = false } = readOwner(directory) ?? {}
    if (!identity || from === undefined || timeoutMs === 0) return
    const end = (): void => {
      this.#limited.delete(taskID)
      // A process that adopted the command meanwhile enforces the limit, and reports the cause.
      if (!isRunning(directory) || !this.#isOrphan(directory)) return
      // A server outlives the default limit until it is adopted, as it does while its owner runs.
      if (timeoutIsDefault && listeningPort(identity.pid) !== undefined) return
      log.warn(`${taskID}: has exceeded its time limit and is being killed`)
      void attach({ ...identity, directory, clock, killGraceMs: this.#killGraceMs }).kill()
    }
    this.#limited.set(taskID, clock.after(leftOf(timeoutMs, from, clock), end))
  }

  #isOrphan(directory: string): boolean {
    const belonging = readOwner(directory)
    return belonging !== undefined && this.#ports.owners.isGone(belonging.owner)
  }
}
