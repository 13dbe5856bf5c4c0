/**
 * Histories that nobody wrote: launches, answers, steering, reads, cancels, interruptions, faults and kills in any
 * order, on a host whose calls take their time. Whatever happened, at the end each run has ended once, and each end was
 * told to its parent's model once, unless the parent had read it or brought it about.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { OutputOptions } from '../../src/manager.ts'
import { HostError } from '../../src/opencode.ts'
import { isEnded } from '../../src/task/task.ts'
import { ToolError } from '../../src/tool-error.ts'
import { createFakeStage, type FakeStage } from '../harness/fake-stage.ts'
import type { Reply } from '../harness/script.ts'

/** More than a few are of no use: what goes wrong, goes wrong between two or three. */
const TASKS = 4
const LIMIT = 2
const RUNS = Number(process.env['HISTORIES'] ?? 150)

type Step =
  | { readonly type: 'launch' | 'cancelAll' | 'write' | 'interrupt' | 'crash' }
  | {
      readonly type: 'answer' | 'continue' | 'cancel' | 'read' | 'block' | 'abortChild'
      readonly task: number
    }
  | { readonly type: 'wait'; readonly ms: number }
  | { readonly type: 'fault'; readonly fault: 'fail' | 'hang' | 'lose' | 'swallow' | 'deaf' }

const task = fc.nat(TASKS - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('launch' as const) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constantFrom('answer', 'answer', 'continue', 'cancel', 'read', 'block', 'abortChild'),
      task,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ type: fc.constant('wait' as const), ms: fc.constantFrom(1, 3, 9, 40, 120, 3000) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('write', 'interrupt', 'crash', 'cancelAll') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('fault' as const),
      fault: fc.constantFrom('fail', 'hang', 'lose', 'swallow', 'deaf'),
    }),
  },
)

const history = fc.record({
  steps: fc.array(step, { minLength: 3, maxLength: 24 }),
  /** Milliseconds that calls and answers take, in turn. */
  latencies: fc.array(fc.constantFrom(0, 0, 1, 5, 12, 30), { minLength: 1, maxLength: 7 }),
  wake: fc.constantFrom('each', 'all', 'never'),
  onInterrupt: fc.constantFrom('keep', 'keep', 'cancel'),
})

class Play {
  readonly stage: FakeStage
  readonly ids: string[] = []
  /** `id run` of ends that the parent has read or brought about, so that they need not be told. */
  readonly known = new Set<string>()
  readonly pending: Promise<unknown>[] = []
  #launches = 0
  #prompts = 0
  #writes = 0

  constructor({ latencies, wake, onInterrupt }: { latencies: number[]; wake: string; onInterrupt: string }) {
    this.stage = createFakeStage({
      concurrency: { total: LIMIT },
      notify: { wake },
      onInterrupt,
      startTimeoutMs: 20_000,
    })
    let calls = 0
    const { host, clock, parentID } = this.stage
    host.latencyMs = () => latencies[calls++ % latencies.length] ?? 0
    const { script } = host
    host.script = async (request) => {
      // The parent's model thinks for a while, so that things happen meanwhile.
      const ms = host.latencyMs() * 10
      if (request.sessionID === parentID && ms > 0) {
        await new Promise<void>((resolve) => clock.after(ms, resolve))
      }
      return script(request)
    }
  }

  /** What a call of the tools would do: refusals are answers, and nothing else may go wrong. */
  #try(work: Promise<unknown>): void {
    this.pending.push(
      work.catch((error: unknown) => {
        if (!(error instanceof ToolError || error instanceof HostError)) throw error
      }),
    )
  }

  async #read(id: string, options: OutputOptions): Promise<void> {
    const { task: seen } = await this.stage.manager.output(id, options)
    if (isEnded(seen)) this.known.add(`${seen.id} ${seen.run}`)
  }

  take(next: Step): void | Promise<void> {
    const { stage } = this
    const { host, parentID, manager } = stage
    const id = 'task' in next ? (this.ids[next.task] ?? '') : ''
    const current = manager.get(id)
    switch (next.type) {
      case 'launch':
        if (this.#launches >= TASKS) return
        this.#try(
          stage.launch(`prompt ${this.#launches++}`).then((launched) => void this.ids.push(launched.id)),
        )
        return
      case 'answer': {
        const asked = `prompt ${next.task}`
        stage.answer(asked, next.task === 3 ? ({ status: 400, text: 'bad' } satisfies Reply) : undefined)
        return
      }
      case 'continue':
        if (!current) return
        stage.answer(`more ${this.#prompts}`)
        this.#try(manager.continue(id, `more ${this.#prompts++}`))
        return
      case 'cancel':
        if (current) this.#try(manager.cancel(id))
        return
      case 'cancelAll':
        this.#try(manager.cancelAll(parentID))
        return
      case 'read':
      case 'block':
        if (!current) return
        this.#try(this.#read(id, next.type === 'block' ? { timeoutMs: 2000 } : {}))
        return
      case 'abortChild':
        if (current) void host.userAbort(current.sessionID)
        return
      case 'write':
        host.userPrompt(parentID, `write ${this.#writes++}`)
        return
      case 'interrupt':
        void host.userAbort(parentID)
        return
      case 'crash':
        host.muteEvents = false
        stage.crash()
        this.pending.length = 0
        return
      case 'wait':
        return stage.clock.advance(next.ms)
      case 'fault':
        if (next.fault === 'fail') host.failNext('prompt')
        else if (next.fault === 'hang') host.hangNext('prompt')
        else if (next.fault === 'lose') host.loseNextAnswer('prompt')
        else if (next.fault === 'swallow') host.swallowNextPrompt()
        else host.muteEvents = true
        return
    }
  }

  /** Everything that can still be answered is; the user comes back and writes, twice. */
  async end(): Promise<void> {
    const { host, clock, parentID } = this.stage
    host.muteEvents = false
    this.stage.answerAll()
    await clock.advance(200_000)
    for (const text of ['end one', 'end two']) {
      host.userPrompt(parentID, text)
      await clock.advance(200_000)
    }
    await Promise.all(this.pending)
  }
}

/** The highest number of children's model calls at the same time. */
function watchLimit({ host, parentID }: FakeStage): () => number {
  let most = 0
  const { script } = host
  host.script = (request) => {
    const open = new Set(
      host.modelRequests
        .filter(({ sessionID, outcome }) => sessionID !== parentID && outcome === 'open')
        .map(({ sessionID }) => sessionID),
    )
    most = Math.max(most, open.size)
    return script(request)
  }
  return () => most
}

test('whatever happens in whatever order, each run ends once, and each end is told once', async () => {
  await fc.assert(
    fc.asyncProperty(history, async ({ steps, ...settings }) => {
      const play = new Play(settings)
      const { stage } = play
      const most = watchLimit(stage)
      const beginning: Step[] = [{ type: 'launch' }, { type: 'launch' }, { type: 'wait', ms: 60 }]
      for (const next of [...beginning, ...steps]) {
        await play.take(next)
        await stage.clock.advance(0)
      }
      const highest = most()
      await play.end()
      const { manager, parentID } = stage
      const told = stage
        .notices()
        .map((text) => /id="(\w+)" run="(\d+)"/.exec(text)?.slice(1).join(' ') ?? '')
      expect(new Set(told).size).toBe(told.length)
      for (const ended of manager.list(parentID)) {
        expect(isEnded(ended)).toBe(true)
        const key = `${ended.id} ${ended.run}`
        const isOwn = ended.status === 'cancelled' && ended.by === 'parent'
        if (isOwn || play.known.has(key)) continue
        expect(told).toContain(key)
      }
      const read = stage.host.modelRequests
        .filter(({ sessionID }) => sessionID === parentID)
        .flatMap(({ messages }) => messages.map(({ content }) => content))
        .join('\n')
      for (const key of told) {
        const [id, run] = key.split(' ')
        expect(read).toContain(`id="${id}" run="${run}"`)
      }
      expect(highest).toBeLessThanOrEqual(LIMIT)
      expect(stage.clock.pending).toBe(0)
    }),
    { seed: Number(process.env['SEED'] ?? 20261121), numRuns: RUNS },
  )
}, 600_000)
