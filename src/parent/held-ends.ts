/**
 * Holds the notices of ends that tool calls of the parent wait for or read. The first call that asks for an end
 * holds it, and the end is freed when the last call is over.
 */
import type { Part } from '../host/opencode.ts'
import type { Reader } from '../host/reader.ts'
import type { EndedTask, Task } from '../task/task.ts'
import { keyOf, type EndNotice, type Notice } from './notice.ts'
import { Readings, type Reading, type ReadingPorts } from './reading.ts'

interface HeldEnd {
  readonly readings: Set<Reading>
  /** The held notice; `undefined` before the end of the run, and if none is owed. */
  notice: Notice | undefined
  /** Resolves when no call reads the end any more. */
  readonly freed: Promise<void>
  readonly free: () => void
}

export interface HeldEndListeners {
  /** Called when the first call asks for an end. Returns its unsent notice. */
  readonly onHeld: (key: string) => Notice | undefined
  /** Called when a call that returned the end was stored. */
  readonly onRead: (task: EndedTask) => void
  /** Called when the last call is over, with the notice that is still owed. */
  readonly onFreed: (taskID: string, notice: Notice | undefined) => void
  readonly onChange: () => void
}

/** The hold of a tool call on a notice. */
export interface Hold {
  /** Reports that the call returns this end. OpenCode settles the end by storing the call as completed. */
  readonly read: (task: EndedTask) => void
  /** Abandons the read; without effect after `read`. */
  readonly release: () => void
}

export class HeldEnds {
  readonly #readings: Readings
  readonly #on: HeldEndListeners
  /** By the keys of their notices. */
  readonly #held = new Map<string, HeldEnd>()

  constructor(ports: ReadingPorts, parentID: string, on: HeldEndListeners) {
    this.#readings = new Readings(ports, parentID)
    this.#on = on
  }

  hold(task: Task, reader: Reader): Hold {
    const key = keyOf(task, 'ended')
    const held = this.#held.get(key) ?? this.#hold(key)
    let end: EndedTask | undefined
    const reading = this.#readings.begin(reader, (over) => {
      if (over === 'stored' && end) this.#on.onRead(end)
      held.readings.delete(reading)
      if (held.readings.size === 0) {
        this.#held.delete(key)
        this.#on.onFreed(task.id, held.notice)
        held.free()
      }
      this.#on.onChange()
    })
    held.readings.add(reading)
    return {
      read: (ended) => {
        end = ended
        reading.read()
        this.#on.onChange()
      },
      release: () => reading.giveUp(),
    }
  }

  /** Holds the notice of an end if a call asks for it. Returns whether one does. */
  keep(notice: EndNotice): boolean {
    const held = this.#held.get(keyOf(notice.task, 'ended'))
    if (held) held.notice = notice
    return held !== undefined
  }

  /** Drops the notice of an end that the parent has read. */
  settle(task: EndedTask): void {
    const held = this.#held.get(keyOf(task, 'ended'))
    if (held) held.notice = undefined
  }

  /** Whether a call returns an end, so that the parent continues with its result. */
  get isRead(): boolean {
    return [...this.#held.values()].some(({ readings }) => [...readings].some(({ isRead }) => isRead))
  }

  get notices(): readonly Notice[] {
    return [...this.#held.values()].flatMap(({ notice }) => notice ?? [])
  }

  /** Resolves when calls no longer read each of these ends; `undefined` unless they read all of them now. */
  freed(keys: readonly string[]): Promise<void> | undefined {
    const held = keys.map((key) => this.#held.get(key))
    return held.includes(undefined) ? undefined : held[0]?.freed
  }

  observePart(part: Part): void {
    this.#readings.observePart(part)
  }

  dispose(): void {
    this.#readings.dispose()
    this.#held.clear()
  }

  #hold(key: string): HeldEnd {
    let free = (): void => {}
    const freed = new Promise<void>((resolve) => {
      free = resolve
    })
    const held = { readings: new Set<Reading>(), notice: this.#on.onHeld(key), freed, free }
    this.#held.set(key, held)
    return held
  }
}
