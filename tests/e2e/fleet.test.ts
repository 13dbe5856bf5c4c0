/** Tasks of a fleet: a manager at one OpenCode offers them, a worker beside another runs them. */
import { createOpencodeClient } from '@opencode-ai/sdk'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseOptions } from '../../src/config.ts'
import type { JobState, Jobs, Offer } from '../../src/fleet/launcher/jobs.ts'
import { readPayload } from '../../src/fleet/payload.ts'
import { JobRunner, NotStarted, type JobRun } from '../../src/fleet/worker/job-runner.ts'
import { BackgroundManager } from '../../src/manager.ts'
import { realPorts } from '../../src/rooms.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'
import { writes } from '../harness/trees.ts'

let stage: Stage
let other: OpencodeServer
let runner: JobRunner
let state: string
const warnings: string[] = []

beforeAll(async () => {
  state = realpathSync(mkdtempSync(join(tmpdir(), 'opencode-fleet-')))
  mkdirSync(join(state, 'trees'))
  const config = { permission: { external_directory: 'allow' } }
  stage = await startStage({ config })
  other = await startOpencode({ model: stage.model, config: { snapshot: false, ...config } })
  const clone = join(other.home, 'clone')
  execFileSync('git', ['clone', '--quiet', stage.server.directory, clone])
  const settings = { url: other.url, directory: clone, name: 'one', remote: '', trees: join(state, 'trees') }
  runner = await JobRunner.connect(
    { ...settings, slots: 4, permissionTimeoutMs: 0, setup: '' },
    { debug: () => {}, warn: (message) => void warnings.push(message) },
  )
})
afterAll(async () => {
  await runner.detach()
  await other.stop()
  await stage.close()
  rmSync(state, { recursive: true, force: true })
  if (warnings.length > 0) throw new Error(warnings.join('\n'))
})

/** A queue in memory, whose only worker takes each job at once. */
class Queue implements Jobs {
  readonly jobs = new Map<string, JobState>()
  readonly runs = new Map<string, JobRun>()
  #onChange = (): void => {}

  async offer(job: Offer): Promise<void> {
    if (this.jobs.has(job.id)) return
    this.#set(job.id, { type: 'waiting' })
    void this.#work(job)
  }

  states(ids: readonly string[]): Promise<ReadonlyMap<string, JobState>> {
    return Promise.resolve(new Map([...this.jobs].filter(([id]) => ids.includes(id))))
  }

  cancel(id: string): Promise<boolean> {
    this.runs.get(id)?.stop()
    return Promise.resolve(this.jobs.has(id))
  }

  async say(id: string, { text }: { readonly text: string }): Promise<boolean> {
    return (await this.runs.get(id)?.say(text)) ?? false
  }

  acknowledge(id: string): Promise<void> {
    this.jobs.delete(id)
    return Promise.resolve()
  }

  watch(onChange: () => void): void {
    this.#onChange = onChange
  }

  #set(id: string, next: JobState): void {
    this.jobs.set(id, next)
    this.#onChange()
  }

  async #work({ id, payload }: Offer): Promise<void> {
    const claimed = { type: 'claimed', worker: 'one', silentMs: 0, report: undefined } as const
    this.#set(id, { ...claimed, isPrompted: false })
    try {
      // As over a wire.
      const read = readPayload(JSON.parse(JSON.stringify(payload)))
      const run = await runner.start(id, read, () => {
        this.#set(id, { ...claimed, isPrompted: true })
        return Promise.resolve()
      })
      this.runs.set(id, run)
      const result = JSON.parse(JSON.stringify(await run.result)) as unknown
      this.#set(id, { type: 'ended', worker: 'one', result })
      await run.drop()
    } catch (error) {
      if (!(error instanceof NotStarted)) throw error
      this.#set(id, { type: 'ended', why: error.message })
    }
  }
}

function manager(queue: Queue): BackgroundManager {
  const { url, directory } = stage.server
  const client = createOpencodeClient({ baseUrl: url, directory })
  const input = { name: 'launcher', client, directory, options: { fleet: { db: '{env:NONE}' } } }
  const { options } = parseOptions(input.options)
  const ports = realPorts(client, directory, 'launcher', options, undefined)
  return new BackgroundManager(input, { ...ports, openJobs: () => Promise.resolve(queue) })
}

function git(...args: readonly string[]): string {
  return execFileSync('git', ['-C', stage.server.directory, ...args]).toString()
}

async function launch(by: BackgroundManager, parent: Parent, prompt: string): Promise<string> {
  const request = { parentID: parent.id, agent: 'general', description: prompt, prompt, where: 'any' }
  return (await by.launch(request)).id
}

test('a task works at a worker, its branch comes back, and its parent is told once', async () => {
  const queue = new Queue()
  const by = manager(queue)
  await by.follow()
  writeFileSync(join(stage.server.directory, 'draft.txt'), 'not committed\n')
  const parent = await stage.parent()
  const usual = stage.model.script
  stage.model.script = (request) =>
    request.messages.some(({ content }) => content.endsWith('write a page'))
      ? writes('page.txt', 'one\ntwo\n')(request)
      : usual(request)
  try {
    const id = await launch(by, parent, 'write a page')
    const { type, task } = await by.waitForCompletion(id)
    expect({ type, status: task.status }).toEqual({ type: 'ended', status: 'completed' })
    await parent.waitForNotice('written in')
    const branch = `opencode-background/${id}-write-a-page`
    expect(parent.noticeText).toContain(
      `Branch ${branch}, 1 commit, 1 file (+2 -0): page.txt. It applies cleanly to your checkout now.`,
    )
    expect(git('show', `${branch}:page.txt`)).toBe('one\ntwo\n')
    expect(git('show', `${branch}:draft.txt`)).toBe('not committed\n')
    await parent.say('And now?')
    expect(parent.noticeTurns).toHaveLength(1)
    const { transcript } = await by.output(id)
    expect(transcript?.text).toMatch(/^written in /)
    expect(await by.apply(id)).toMatchObject({ type: 'applied', paths: ['page.txt'] })
    await expect.poll(() => queue.jobs.size).toBe(0)
    expect(
      git('for-each-ref', `refs/opencode-background/${id}/in`, `refs/opencode-background/${id}/out`),
    ).toBe('')
  } finally {
    stage.model.script = usual
    await by.dispose()
  }
})
