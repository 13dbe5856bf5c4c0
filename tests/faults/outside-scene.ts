/** Plays one fault that hits a manager in another process than OpenCode. */
import { createOpencodeClient } from '@opencode-ai/sdk'
import { setTimeout as sleep } from 'node:timers/promises'
import { BackgroundManager } from '../../src/manager.ts'
import { isEnded } from '../../src/task/task.ts'
import { startOutside, type OutsideProcess } from '../harness/outside-process.ts'
import { startProxy, type Proxy } from '../harness/proxy.ts'
import { heldReply } from '../harness/replies.ts'
import type { Parent, Stage } from '../harness/stage.ts'
import { leftBy, RESULT, toldTo, type Seen } from './scene.ts'

const LOOK_MS = 20

/** The server of all scenes has it. */
export const PASSWORD = 'secret'

export class OutsideScene {
  readonly stage: Stage
  readonly parent: Parent
  /** Releases the child's answer. */
  readonly answer: () => void
  readonly #proxy: Proxy
  #manager: BackgroundManager
  #process: OutsideProcess | undefined
  #id = ''

  private constructor(stage: Stage, parent: Parent, proxy: Proxy, answer: () => void) {
    this.stage = stage
    this.parent = parent
    this.answer = answer
    this.#proxy = proxy
    this.#manager = this.#newManager(PASSWORD)
  }

  /** Resolves when the manager follows the events of the stage's server, through a proxy. */
  static async create(stage: Stage): Promise<OutsideScene> {
    const { reply, release } = heldReply()
    const proxy = await startProxy(stage.server.url)
    const scene = new OutsideScene(stage, await stage.parent(() => reply), proxy, () =>
      release({ text: RESULT }),
    )
    await scene.#manager.follow()
    return scene
  }

  async close(): Promise<void> {
    await this.#manager.dispose()
    await this.#process?.kill()
    await this.#proxy.close()
  }

  /** Launches the task, and resolves when its model was asked. */
  async launch(): Promise<void> {
    await this.#manager.follow()
    const { id } = await this.#manager.launch(this.#request)
    this.#id = id
    await this.#childIsAtWork()
  }

  /** Launches the task in a process of its own. */
  async launchOutside(): Promise<void> {
    this.#process = await startOutside(this.stage.server, PASSWORD)
    const [id = ''] = await this.#process.launch(this.parent.id, 'work')
    this.#id = id
    await this.#childIsAtWork()
  }

  /** Kills the process with SIGKILL, and starts another, which recovers its tasks. */
  async restartOutside(): Promise<void> {
    await this.#process?.kill()
    this.#process = await startOutside(this.stage.server, PASSWORD)
    await this.#process.recover(this.parent.id)
  }

  /** Breaks all connections to the server, and resolves when the manager has made new ones. */
  async breakStream(): Promise<void> {
    const { connections } = this.#proxy
    this.#proxy.breakConnections()
    while (this.#proxy.connections === connections) await sleep(LOOK_MS)
  }

  cut(): void {
    this.#proxy.cut()
  }

  restore(): void {
    this.#proxy.restore(this.stage.server.url)
  }

  /** Answers for the child, cuts the connection while the parent's model reads the notice, and lets that model answer. */
  async cutAtNotice(): Promise<void> {
    const { model } = this.stage
    const { script } = model
    const { reply, release } = heldReply()
    model.script = (request) => (request.sessionID === this.parent.id ? reply : script(request))
    this.answer()
    await this.parent.waitForNotice(this.#id)
    this.#proxy.cut()
    model.script = script
    release({ text: 'Noted.' })
    await this.stage.server.waitForIdle(this.parent.id)
  }

  async disposeInstance(): Promise<void> {
    await this.stage.server.client.instance.dispose({ throwOnError: true })
  }

  /** Replaces the manager by one whose server is away, and which is launched on when the server is back. */
  async startAway(): Promise<void> {
    await this.#manager.dispose()
    this.#proxy.cut()
    this.#manager = this.#newManager(PASSWORD)
    void this.#manager.follow()
    await this.#isRefused()
    this.restore()
  }

  async launchWithWrongPassword(): Promise<void> {
    await this.#manager.dispose()
    this.#manager = this.#newManager('wrong')
    await this.#isRefused()
  }

  async see(): Promise<Seen> {
    if (this.#id !== '') await this.parent.waitForNotice(this.#id)
    await this.parent.say('where were we')
    await this.parent.say('thanks')
    const lines = await this.#process?.recover(this.parent.id)
    const unfinished =
      lines?.filter((line) => !line.endsWith(' completed')) ??
      this.#manager.list(this.parent.id).filter((task) => !isEnded(task))
    return {
      ...toldTo(this.parent, this.#id),
      left: await leftBy(this.stage, this.parent, unfinished.length),
    }
  }

  get #request() {
    return { parentID: this.parent.id, agent: 'general', description: 'work', prompt: 'work' }
  }

  #newManager(password: string): BackgroundManager {
    const { directory } = this.stage.server
    const headers = { authorization: `Basic ${btoa(`opencode:${password}`)}` }
    const client = createOpencodeClient({ baseUrl: this.#proxy.url, directory, headers })
    return new BackgroundManager({ name: 'outside', client, directory })
  }

  async #childIsAtWork(): Promise<void> {
    await this.stage.model.waitForRequest(({ parentSessionID }) => parentSessionID === this.parent.id)
  }

  async #isRefused(): Promise<void> {
    const wasLaunched = await this.#manager.launch(this.#request).then(
      () => true,
      () => false,
    )
    if (wasLaunched) throw new Error('The launch was not refused')
  }
}
