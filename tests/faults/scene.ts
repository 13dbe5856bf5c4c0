/** Plays one fault on the real OpenCode: a parent launches one task, a fault hits it, and the outcome is read. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { heldReply } from '../harness/replies.ts'
import type { Reply, Script } from '../harness/script.ts'
import type { Event } from '@opencode-ai/sdk/v2'
import { backgroundTask, type Parent, type Stage } from '../harness/stage.ts'

/** The columns of the table. */
export interface Seen {
  /** The end as the parent's model has read it. */
  readonly told: string
  /** The number of messages with that end, up to two user messages later. */
  readonly times: number
  /** Whether the notice woke the parent, or its model read it with the next user message. */
  readonly how: 'woken' | 'with the next message' | '–'
  /** Busy sessions, unfinished tasks and unanswered permission requests. */
  readonly left: string
}

export const RESULT = 'the result'

/** The arguments of a task whose model runs one task at a time. */
export const ONE_AT_A_TIME = { model: 'mock/m2' }

/** The tool calls that all tasks of a parent may make. */
export const SESSION_CALLS = 6

/** The time after which an unconfirmed notice is sent again. */
const SENT_AGAIN_MS = 6000
const LOOK_MS = 20

export class Scene {
  readonly stage: Stage
  readonly parent: Parent
  /** Releases the child's answer. */
  readonly answer: (reply?: Reply) => void
  #id = ''
  #forkID = ''
  #isParentGone = false
  #memoryBefore = 0

  private constructor(stage: Stage, parent: Parent, answer: (reply: Reply) => void) {
    this.stage = stage
    this.parent = parent
    this.answer = (reply = { text: RESULT }) => answer(reply)
  }

  /** @param child answers for the children, instead of `answer` */
  static async create(stage: Stage, child?: Script): Promise<Scene> {
    await stage.fault('none')
    const { reply, release } = heldReply()
    return new Scene(stage, await stage.parent(child ?? (() => reply)), release)
  }

  get id(): string {
    return this.#id
  }

  get #client() {
    return this.stage.server.client
  }

  /** Launches the task, and waits until the child is at work and the parent's turn has ended. */
  async launch(): Promise<void> {
    await this.launchOnly()
    await this.childIsAtWork()
    await this.parent.quietBesidesChildren()
  }

  /** Launches the task, and resolves with the tool's answer. `changes`: more arguments. */
  async launchOnly(changes: object = {}): Promise<void> {
    const [answer = ''] = await this.parent.call([backgroundTask('work', changes)])
    this.#id = /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer
  }

  /** Launches a monitor of the lines with `FAIL` in the output of a command. */
  async launchMonitor(command: string): Promise<void> {
    const args = { command, timeout: 0, notify_on: ['FAIL'], notify_every: true }
    const [answer = ''] = await this.parent.call([{ name: 'run_background', args }])
    this.#id = /bg_[0-9a-f]{8}/.exec(answer)?.[0] ?? answer
  }

  /** Adds a line to a file of the project. */
  addLine(file: string, line: string): Promise<void> {
    appendFileSync(join(this.stage.server.directory, file), `${line}\n`)
    return Promise.resolve()
  }

  /** Resolves when the child's model was asked; lets time pass until then. */
  async isAtWork(): Promise<void> {
    await this.stage.passUntil(this.childIsAtWork())
  }

  /** Resolves when the parent's model was asked with this text in a notice; lets time pass until then. */
  async isTold(text: string): Promise<void> {
    await this.stage.passUntil(this.parent.waitForNotice(text))
  }

  /** Lets time pass until every resend is sent. */
  pass(): Promise<void> {
    return this.stage.pass(SENT_AGAIN_MS)
  }

  async childIsAtWork(): Promise<string> {
    const { sessionID } = await this.stage.model.waitForRequest(
      (request) => request.parentSessionID === this.parent.id,
      { description: "the child's request" },
    )
    return sessionID
  }

  #event(predicate: (event: Event) => boolean, description: string, from = 0): Promise<Event> {
    return this.stage.server.events.waitFor(predicate, { description, from })
  }

  /** Resolves when the child's prompt is stored. Call it before the launch. */
  async promptIsStored(): Promise<void> {
    const from = this.stage.server.events.all.length
    await this.#event(
      (event) =>
        event.type === 'message.part.updated' &&
        event.properties.part.type === 'text' &&
        event.properties.part.text === 'work' &&
        event.properties.part.sessionID !== this.parent.id,
      "the child's prompt",
      from,
    )
  }

  async noticeIsStored(): Promise<void> {
    await this.#event(
      (event) =>
        event.type === 'message.part.updated' &&
        event.properties.part.type === 'text' &&
        event.properties.part.text.startsWith('<background_task ') &&
        event.properties.part.sessionID === this.parent.id,
      'the notice',
    )
  }

  /** Resolves when the child's session holds the message that its budget is nearly spent. */
  async childIsToldOfBudget(): Promise<void> {
    const sessionID = await this.childIsAtWork()
    await this.#event(
      ({ type, properties }) =>
        type === 'message.part.updated' &&
        properties.part.type === 'text' &&
        properties.part.text.startsWith('[Automatic notice') &&
        properties.part.sessionID === sessionID,
      'the message about its budget',
    )
  }

  /** Resolves when the child's answer is complete and its session idle. */
  async childHasFinished(): Promise<void> {
    const sessionID = await this.childIsAtWork()
    await this.#event(
      (event) =>
        event.type === 'message.updated' &&
        event.properties.info.sessionID === sessionID &&
        event.properties.info.role === 'assistant' &&
        event.properties.info.time.completed !== undefined,
      "the child's answer",
    )
    await this.childIsIdle()
  }

  /** Resolves when the child's session is idle. */
  async childIsIdle(): Promise<void> {
    const sessionID = await this.childIsAtWork()
    while (sessionID in (await this.#statuses())) await sleep(LOOK_MS)
    await this.stage.settle()
  }

  async #statuses(): Promise<object> {
    const { data } = await this.#client.session.status({ throwOnError: true })
    return data
  }

  /** Resolves with the id of the child's permission request. */
  async permissionIsAsked(): Promise<string> {
    const sessionID = await this.childIsAtWork()
    const event = await this.#event(
      ({ type, properties }) => type === 'permission.asked' && properties.sessionID === sessionID,
      'a request for permission',
    )
    return event.type === 'permission.asked' ? event.properties.id : ''
  }

  async rejectPermission(): Promise<void> {
    const permissionID = await this.permissionIsAsked()
    await this.#client.postSessionIdPermissionsPermissionId({
      path: { id: await this.childIsAtWork(), permissionID },
      body: { response: 'reject' },
      throwOnError: true,
    })
  }

  async abort(id: string): Promise<void> {
    await this.#client.session.abort({ path: { id }, throwOnError: true })
  }

  async delete(id: string): Promise<void> {
    await this.#client.session.delete({ path: { id }, throwOnError: true })
    this.#isParentGone ||= id === this.parent.id
  }

  /** Undoes the messages of a session from the first that begins with this text. */
  async undo(id: string, text: string): Promise<void> {
    const stored = await this.stage.server.messages(id)
    const message = stored.find(({ parts }) =>
      parts.some((part) => part.type === 'text' && part.text.startsWith(text)),
    )
    const body = { messageID: message?.info.id ?? '' }
    await this.#client.session.revert({ path: { id }, body, throwOnError: true })
  }

  async archive(id: string): Promise<void> {
    const body = { time: { archived: Date.now() } } as object
    await this.#client.session.update({ path: { id }, body, throwOnError: true })
  }

  async compact(id: string): Promise<void> {
    const body = { providerID: 'mock', modelID: 'm1' }
    await this.#client.session.summarize({ path: { id }, body, throwOnError: true })
  }

  async fork(id: string): Promise<void> {
    const { data } = await this.#client.session.fork({ path: { id }, body: {}, throwOnError: true })
    this.#forkID = data.id
  }

  /** Throws if the fork's model was asked. */
  expectForkUntouched(): Promise<void> {
    const { length } = this.stage.model.requestsOf(this.#forkID)
    if (length > 0) throw new Error(`the model of the fork was asked ${length} times`)
    return Promise.resolve()
  }

  /** The resident memory of OpenCode, in bytes. */
  get #memory(): number {
    const status = readFileSync(`/proc/${this.stage.server.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
  }

  rememberMemory(): Promise<void> {
    this.#memoryBefore = this.#memory
    return Promise.resolve()
  }

  /** Throws if OpenCode's memory has grown by that many bytes since `rememberMemory`. */
  expectMemoryGrowthBelow(bytes: number): Promise<void> {
    const growth = this.#memory - this.#memoryBefore
    if (growth >= bytes) throw new Error(`the memory of OpenCode has grown by ${growth} bytes`)
    return Promise.resolve()
  }

  /** Makes every write to the disk fail until the returned function is called. */
  fillDisk(): () => void {
    const limit = (bytes: string): void => {
      execFileSync('prlimit', ['--pid', String(this.stage.server.pid), `--fsize=${bytes}:unlimited`])
    }
    limit('1000')
    return () => limit('unlimited')
  }

  async disposeInstance(): Promise<void> {
    const { url, directory, events } = this.stage.server
    const from = events.all.length
    await fetch(`${url}/instance/dispose?directory=${encodeURIComponent(directory)}`, { method: 'POST' })
    await this.stage.model.waitForRequest(
      ({ parentSessionID, outcome }) => parentSessionID === this.parent.id && outcome === 'closed',
    )
    await events.waitFor(({ type }) => type === 'server.connected', {
      from,
      description: 'the next instance',
    })
  }

  /** Resolves when the parent is idle and makes no more requests by itself. */
  async quiet(): Promise<void> {
    for (;;) {
      const before = this.parent.requests.length
      await this.pass()
      const isBusy = this.parent.id in (await this.#statuses())
      if (!isBusy && this.parent.requests.length === before) return
      await sleep(LOOK_MS)
    }
  }

  async see(): Promise<Seen> {
    await this.quiet()
    if (this.#isParentGone)
      return { told: 'the parent is gone', times: 0, how: '–', left: await this.#left('') }
    await this.parent.say('where were we')
    const [list] = await this.parent.call([{ name: 'list_background', args: {} }])
    await this.parent.quietBesidesChildren()
    return { ...toldTo(this.parent, this.#id), left: await this.#left(list ?? '') }
  }

  /** @param list the answer of `list_background` */
  async #left(list: string): Promise<string> {
    return leftBy(this.stage, this.parent, list.match(/^\| `bg_\w+` \| [⏳✋]/gmu)?.length ?? 0)
  }
}

/**
 * Returns what the parent's model has read of an end in its newest request.
 *
 * @param taskID '' for that of any task
 */
export function toldTo(parent: Parent, taskID: string): Omit<Seen, 'left'> {
  const notice = new RegExp(
    `<background_task id="(bg_[0-9a-f]{8})"[^>]*status="(\\w+)"[^]*?</background_task>`,
    'g',
  )
  const told = (parent.requests.at(-1)?.messages ?? [])
    .filter(({ role }) => role === 'user')
    .flatMap(({ content }) =>
      [...content.matchAll(notice)].map(([text, id = '', status = '']) => ({ id, status, text, content })),
    )
    .filter(({ id }) => taskID === '' || id === taskID)
  const [first] = told
  const why = /<error>(.*)/.exec(first?.text ?? '') ?? /by="(\w+)"/.exec(first?.text ?? '')
  return {
    told: first ? [first.status, ...(why ? [why[1]?.replace('</error>', '')] : [])].join(': ') : 'nothing',
    times: told.length,
    how: !first ? '–' : first.content.startsWith('<background_task') ? 'woken' : 'with the next message',
  }
}

/** Returns what a parent and its children leave behind, in words. */
export async function leftBy({ server }: Stage, parent: Parent, unfinished: number): Promise<string> {
  const own = new Set([parent.id, ...parent.childRequests.map(({ sessionID }) => sessionID)])
  const { data: statuses } = await server.client.session.status({ throwOnError: true })
  const requests = (await server.get('/permission')) as { readonly sessionID: string }[]
  const left = {
    'at work': Object.keys(statuses).filter((id) => own.has(id)).length,
    unfinished,
    'asked for': requests.filter(({ sessionID }) => own.has(sessionID)).length,
  }
  const found = Object.entries(left).filter(([, count]) => count > 0)
  return found.map(([what, count]) => `${count} ${what}`).join(', ') || 'nothing'
}
