/** The machines of the options, each with one link. At a change of its contact, the tasks there are told. */
import type { Clock } from '../clock.ts'
import type { Options } from '../config.ts'
import type { connect } from '../host/calls.ts'
import type { Log } from '../host/log.ts'
import { machineOf } from '../task/place.ts'
import type { TaskStore } from '../task/store.ts'
import { isActive, isEnded } from '../task/task.ts'
import { ToolError } from '../tool-error.ts'
import { MachineLink } from './machine-link.ts'

export interface MachinesPorts {
  readonly connect: typeof connect
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
  /** Observes that events of these sessions were missed. */
  readonly missed: (sessionIDs: readonly string[]) => void
}

export class Machines {
  readonly #ports: MachinesPorts
  readonly #options: Options['machines']
  readonly #links = new Map<string, MachineLink>()

  constructor(ports: MachinesPorts, options: Options['machines']) {
    this.#ports = ports
    this.#options = options
  }

  /** Returns the machine with this name or label that answers and has the most free slots. */
  async choose(where: string): Promise<MachineLink> {
    const all = Object.entries(this.#options)
    const wanted = all.filter(
      ([name, { labels }]) => where === 'any' || name === where || labels.includes(where),
    )
    const free = ([name, { slots }]: (typeof wanted)[number]): number => slots - this.#usersOf(name)
    const byRoom = wanted.toSorted((one, other) => free(other) - free(one))
    const reasons: string[] = []
    for (const [name] of byRoom) {
      const link = this.link(name)
      const reason = await link.refusal()
      if (reason === undefined) return link
      reasons.push(`${name}: ${reason}`)
    }
    throw refusal(`no task can start there. ${reasons.join('. ')}`)
  }

  #usersOf(name: string): number {
    return [...this.#ports.store.all()].filter((task) => machineOf(task)?.name === name && !isEnded(task))
      .length
  }

  /** Returns the link to a machine, also to one that is no longer in the options. */
  link(name: string): MachineLink {
    const known = this.#links.get(name)
    if (known) return known
    const options = this.#options[name]
    // A machine that was removed from the options counts as one that does not answer: nothing listens on port 0.
    const gone = {
      url: 'http://127.0.0.1:0',
      directory: '/',
      passwordEnv: '',
      slots: 1,
      labels: [],
      untracked: false,
    }
    const link = new MachineLink(name, options ?? gone, {
      ...this.#ports,
      onContact: (changed) => this.#observeContact(changed),
    })
    this.#links.set(name, link)
    return link
  }

  #observeContact({ name, lost }: MachineLink): void {
    const { clock, log, missed, store } = this.#ports
    const there = [...store.all()].filter((task) => machineOf(task)?.name === name && isActive(task))
    const why = lost && !this.#options[name] ? 'it is not in the option machines' : lost?.why
    log.warn(lost ? `no contact with ${name}: ${why}` : `contact with ${name} again`)
    for (const { id } of there)
      store.dispatch(
        id,
        lost ? { type: 'contactLost', at: Math.min(lost.at, clock.now()) } : { type: 'contactFound' },
      )
    if (!lost) missed(there.map(({ sessionID }) => sessionID))
  }
}

export function refusal(why: string): ToolError {
  return new ToolError(
    `where: ${why}. Nothing was started. Without where, the agent works here.`,
    'badArgument',
  )
}
