/**
 * Opens a tmux pane for each agent at work, beside the pane in which OpenCode was started: it shows the session of the
 * task. The focus does not move.
 */
import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import type { Clock } from './clock.ts'
import type { Machine } from './work/command/this-machine.ts'
import type { Options } from './config.ts'
import type { Log } from './host/log.ts'
import { errorText, type Opencode } from './host/opencode.ts'
import type { TaskStore } from './task/store.ts'
import { isActive, isEnded, type Task } from './task/task.ts'
import type { Timeline } from './timeline.ts'

interface Ports {
  readonly opencode: Opencode
  readonly clock: Clock
  readonly log: Log
  readonly store: TaskStore
  readonly timeline: Pick<Timeline, 'subscribe'>
  readonly machine: Machine
  /** Whether OpenCode does the work of a task in its session. */
  readonly runsInSession: (task: Task) => boolean
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** The server to which a pane attaches. */
export interface Server {
  readonly url: URL
  readonly directory: string
}

/** How long a pane stays open after the end of its task. */
const CLOSE_MS = 2000

/** Delay until the next check whether any session is at work. */
const POLL_MS = 500

/** Time limit of a call of OpenCode or tmux. */
const LIMIT_MS = 10_000

const execute = promisify(execFile)

async function tmux(...args: readonly string[]): Promise<string> {
  return (await execute('tmux', args, { timeout: LIMIT_MS })).stdout.trim()
}

export class Panes {
  readonly #ports: Ports
  readonly #server: Server
  readonly #options: Options['tmux']
  /** Panes by task id. A pane that the user has closed stays here, so that it is not opened again. */
  readonly #panes = new Map<string, string>()
  /** By id of a task that has just ended: the function that cancels the closing of its pane. */
  readonly #lingering = new Map<string, () => void>()
  /** Whether panes can be opened; `unknown` until that was checked. */
  #possible: 'unknown' | 'yes' | 'no' = 'unknown'
  /** The pending updates, which run one after another. */
  #work = Promise.resolve()
  #stopListening = (): void => {}
  #cancelPoll = (): void => {}

  constructor(ports: Ports, server: Server, options: Options['tmux']) {
    this.#ports = ports
    this.#server = server
    this.#options = options
    if (ports.disposal.aborted) return
    const unsubscribe = ports.timeline.subscribe((step, task) => {
      if (step.type !== 'transition') return
      if (step.event === 'prompted') this.#update()
      if (step.event === 'ended') this.#linger(task.id)
    })
    ports.disposal.addEventListener('abort', () => {
      unsubscribe()
      this.#cancelPoll()
      this.#closeNow()
    })
  }

  /** Closes the pane of an ended task after `CLOSE_MS`, so that its end can be read. */
  #linger(taskID: string): void {
    this.#lingering.get(taskID)?.()
    const cancel = this.#ports.clock.after(CLOSE_MS, () => {
      this.#lingering.delete(taskID)
      this.#update()
    })
    this.#lingering.set(taskID, cancel)
  }

  #update(): void {
    this.#work = this.#updateAfter(this.#work)
  }

  async #updateAfter(before: Promise<void>): Promise<void> {
    await before
    try {
      await this.#reconcile()
    } catch (error) {
      this.#ports.log.warn(`tmux: ${errorText(error)}`)
    }
  }

  /** Closes the panes of ended tasks, and opens panes for agents at work, the oldest first, up to the limit. */
  async #reconcile(): Promise<void> {
    const { store } = this.#ports
    const isSeen = (task: Task | undefined): boolean =>
      task !== undefined && (!isEnded(task) || this.#lingering.has(task.id))
    const over = [...this.#panes].filter(([taskID]) => !isSeen(store.get(taskID)))
    await Promise.all(over.map(([taskID]) => this.#close(taskID)))
    const waiting = [...store.all()].filter(
      (task) => this.#ports.runsInSession(task) && isActive(task) && !this.#panes.has(task.id),
    )
    const next = waiting.slice(0, Math.max(0, this.#options.limit - this.#panes.size))
    if (this.#ports.disposal.aborted || (next.length === 0 && over.length === 0)) return
    if (next.length > 0 && !(await this.#isPossible())) return
    await this.#arrange()
    for (const task of next) {
      await this.#open(task)
      // Without this, tmux may have no room for the next pane.
      await this.#arrange()
    }
  }

  async #isPossible(): Promise<boolean> {
    if (this.#possible === 'unknown') this.#possible = await this.#checkPossible()
    return this.#possible === 'yes'
  }

  /** Checks whether panes can be opened, and reports once why they cannot. */
  async #checkPossible(): Promise<'unknown' | 'yes' | 'no'> {
    const { clock, log, opencode } = this.#ports
    const isInTmux = Boolean(process.env['TMUX'] && process.env['TMUX_PANE'])
    const isListening = isInTmux && (await this.#isListening())
    if (isListening) return 'yes'
    if (isListening === undefined) {
      this.#cancelPoll()
      this.#cancelPoll = clock.after(POLL_MS, () => this.#update())
      return 'unknown'
    }
    const obstacle = isInTmux
      ? `OpenCode does not listen at ${this.#server.url.href}: start it with --port, as \`opencode --port 4096\``
      : 'OpenCode does not run inside tmux'
    const text = `option tmux: no panes, because ${obstacle}`
    log.warn(text)
    await opencode.warn(text).catch((error: unknown) => log.warn(errorText(error)))
    return 'no'
  }

  /**
   * Whether OpenCode listens at its address; `undefined` while none of its sessions is at work. If it does not listen,
   * another may (contract 10.4), even one of the same project, but that one does not report our sessions as at work.
   */
  async #isListening(): Promise<boolean | undefined> {
    const { url, directory } = this.#server
    const { OPENCODE_SERVER_PASSWORD: password, OPENCODE_SERVER_USERNAME: user = 'opencode' } = process.env
    const headers = password
      ? { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
      : {}
    const { opencode } = this.#ports
    const own = Object.keys(await opencode.statuses())
    if (own.length === 0) return undefined
    try {
      const signal = AbortSignal.timeout(LIMIT_MS)
      const path = `/session/status?directory=${encodeURIComponent(directory)}`
      const response = await fetch(new URL(path, url), { headers, signal })
      const there = response.ok ? ((await response.json()) as object) : {}
      if (own.some((sessionID) => Object.hasOwn(there, sessionID))) return true
      const now = await opencode.statuses()
      return own.some((sessionID) => Object.hasOwn(now, sessionID)) ? false : undefined
    } catch {
      return false
    }
  }

  async #open(task: Task): Promise<void> {
    const { url, directory } = this.#server
    if (this.#ports.disposal.aborted) return
    const attach = [process.execPath, 'attach', url.href, '--session', task.sessionID, '--dir', directory]
    // A pane inherits the environment of the tmux server, not ours.
    const secrets = ['OPENCODE_SERVER_USERNAME', 'OPENCODE_SERVER_PASSWORD'].flatMap((name) => {
      const value = process.env[name]
      return value ? ['-e', `${name}=${value}`] : []
    })
    // The user may have closed or moved the last pane.
    const here = (await tmux('list-panes', '-t', mainPane(), '-F', '#{pane_id}')).split('\n')
    const behind = [...this.#panes.values()].findLast((pane) => here.includes(pane)) ?? mainPane()
    // Without `-c`: tmux runs commands in `#()` of its value, and a directory may have any name.
    const place = ['-d', '-h', '-P', '-F', '#{pane_id}', '-t', behind]
    const pane = await tmux('split-window', ...place, ...secrets, '--', ...attach)
    if (this.#panes.size === 0)
      this.#stopListening = this.#ports.machine.onTermination(() => this.#closeNow())
    this.#panes.set(task.id, pane)
    // The instance may have ended meanwhile.
    if (this.#ports.disposal.aborted) this.#closeNow()
  }

  /** Applies the layout and, if it has a main pane, the size of OpenCode's own pane. */
  async #arrange(): Promise<void> {
    if (this.#panes.size === 0) return
    const { layout, size } = this.#options
    const dimension = {
      'main-vertical': 'main-pane-width',
      'main-horizontal': 'main-pane-height',
      tiled: '',
    }[layout]
    if (dimension !== '') await tmux('set-option', '-w', '-t', mainPane(), dimension, `${size}%`)
    await tmux('select-layout', '-t', mainPane(), layout)
  }

  async #close(taskID: string): Promise<void> {
    const pane = this.#panes.get(taskID)
    this.#panes.delete(taskID)
    if (this.#panes.size === 0) this.#stopListening()
    // The user may have closed the pane.
    if (pane !== undefined) await tmux('kill-pane', '-t', pane).catch(() => {})
  }

  /** Closes all panes synchronously, because OpenCode awaits nothing when it ends. */
  #closeNow(): void {
    for (const pane of this.#panes.values()) {
      try {
        execFileSync('tmux', ['kill-pane', '-t', pane], { stdio: 'ignore', timeout: LIMIT_MS })
      } catch {
        // The user may have closed the pane.
      }
    }
    this.#panes.clear()
    this.#stopListening()
  }
}

/** Returns the pane in which OpenCode was started, whichever pane has the focus. */
function mainPane(): string {
  return process.env['TMUX_PANE'] ?? ''
}
