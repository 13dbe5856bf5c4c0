/**
 * Redirects calls about the session of a task to the machine on which the task works. The rest of the plugin uses the id of the
 * task's own session, which only holds the record; this file and `placed-events.ts` translate between the two ids.
 */
import type { Opencode, PermissionRequest, Statuses } from '../host/opencode.ts'
import type { Clock } from '../clock.ts'
import type { MachineLink } from './machine-link.ts'

/** A session on a machine. */
export interface Placed {
  readonly link: MachineLink
  readonly sessionID: string
  readonly directory: string
}

interface Ports {
  readonly clock: Clock
  /** Returns the placed session of a task's own session; `undefined` for any other session. */
  readonly placedOf: (sessionID: string) => Placed | undefined
  /** Returns the placed sessions that are at work, by the sessions of their tasks. */
  readonly atWork: () => ReadonlyMap<string, Placed>
  /** Returns the session that has made a permission request. */
  readonly askerOf: (requestID: string) => Placed | undefined
}

/** How long a status poll waits for one machine. */
const PATIENCE_MS = 2000

/**
 * Replaces calls of the port in place, because each room holds the port already. The first task on a machine does this, so that
 * nothing of it is loaded without one.
 */
export function routePlacedCalls(opencode: Opencode, ports: Ports): void {
  const local = { ...opencode }
  const routed: Pick<
    Opencode,
    'prompt' | 'abort' | 'messages' | 'newestMessages' | 'statuses' | 'permissions' | 'rejectPermission'
  > = {
    prompt: (id, prompt) => at(id, (to, session) => to.prompt(session, prompt)),
    abort: (id) => at(id, (to, session) => to.abort(session)),
    messages: (id, firstPage) => at(id, (to, session) => to.messages(session, firstPage)),
    newestMessages: (id, count) => at(id, (to, session) => to.newestMessages(session, count)),
    async statuses() {
      const away = ofMachines()
      const all = await Promise.all([
        local.statuses(),
        ...[...away].map(([link, sessions]) => statusesAt(link, sessions)),
      ])
      return Object.assign({}, ...all) as Statuses
    },
    async permissions() {
      const away = ofMachines()
      const all = await Promise.all([
        local.permissions(),
        ...[...away].map(([link, sessions]) => permissionsAt(link, sessions)),
      ])
      return all.flat()
    },
    rejectPermission(requestID, message, directory) {
      const asker = ports.askerOf(requestID)
      return asker
        ? asker.link.opencode.rejectPermission(requestID, message, asker.directory)
        : local.rejectPermission(requestID, message, directory)
    },
  }
  Object.assign(opencode, routed)

  function at<Result>(id: string, call: (to: Opencode, sessionID: string) => Result): Result {
    const placed = ports.placedOf(id)
    return placed ? call(placed.link.opencode, placed.sessionID) : call(local, id)
  }

  /** Returns, for each machine, the tasks' own session ids by the ids there. */
  function ofMachines(): Map<MachineLink, Map<string, string>> {
    const found = new Map<MachineLink, Map<string, string>>()
    for (const [own, { link, sessionID }] of ports.atWork())
      found.set(link, (found.get(link) ?? new Map<string, string>()).set(sessionID, own))
    return found
  }

  /** A session of a machine that does not answer counts as busy, because nothing is known of its end. */
  async function statusesAt(link: MachineLink, sessions: ReadonlyMap<string, string>): Promise<Statuses> {
    const there = link.lost ? undefined : await within(link.opencode.statuses())
    return Object.fromEntries(
      [...sessions].flatMap(([sessionID, own]) => {
        const status = there ? there[sessionID] : ({ type: 'busy' } as const)
        return status ? [[own, status]] : []
      }),
    )
  }

  async function permissionsAt(
    link: MachineLink,
    sessions: ReadonlyMap<string, string>,
  ): Promise<PermissionRequest[]> {
    // Rejects without an answer: an empty list would count all requests as answered.
    return (await link.opencode.permissions()).flatMap((request) => {
      const own = sessions.get(request.sessionID)
      return own === undefined ? [] : [{ ...request, sessionID: own }]
    })
  }

  /** Resolves with `undefined` if the answer fails or takes long. */
  function within<Result>(answer: Promise<Result>): Promise<Result | undefined> {
    return new Promise((resolve) => {
      const cancel = ports.clock.after(PATIENCE_MS, () => resolve(undefined))
      answer.then(resolve, () => resolve(undefined)).finally(cancel)
    })
  }
}
