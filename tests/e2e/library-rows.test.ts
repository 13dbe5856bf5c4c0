/** Reported problems of other plugins' authors, by report number, with the package as they install it. */
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addHostTypes, authorsFolder, compile, examplesIn } from '../harness/author.ts'
import { createHome } from '../harness/home.ts'
import { tarball } from '../harness/packed.ts'
import { heldReply } from '../harness/replies.ts'
import type { ToolCall } from '../harness/script.ts'
import { startStage, type Parent, type Stage } from '../harness/stage.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

const [LOOK_UP = '', REVIEW = '', ASK = ''] = examplesIn('docs/library.md')

/** An author's plugin with one tool for each way to read. */
const READING = `
import { tool, type Plugin } from '@opencode-ai/plugin'
import { BackgroundManager, readerOf, ToolError, HostError } from 'opencode-background/manager'

const server: Plugin = async ({ client, directory }) => {
  const manager = new BackgroundManager({ name: 'reading', client, directory })
  const ids: string[] = []
  const reading = (read: (ids: string[], context: Parameters<typeof readerOf>[0]) => Promise<string>) =>
    tool({ description: 'Reads.', args: {}, execute: (_, context) => read(ids, context) })
  return {
    tool: {
      start: tool({
        description: 'Starts agents.',
        args: { prompts: tool.schema.array(tool.schema.string()) },
        async execute({ prompts }, { sessionID: parentID }) {
          ids.length = 0
          for (const prompt of prompts)
            ids.push((await manager.launch({ parentID, agent: 'general', description: prompt, prompt })).id)
          return ids.join()
        },
      }),
      read_both_ways: reading(async (ids, context) => {
        const reader = readerOf(context)
        const texts = ids.map(async (id) => {
          const waited = await manager.waitForCompletion(id, { reader })
          const { transcript } = await manager.output(id, { reader })
          return waited.type + ' ' + transcript?.text
        })
        return (await Promise.all(texts)).join()
      }),
      read_unread: reading(async (ids) => {
        const waits = ids.map(async (id) => {
          await manager.waitForCompletion(id)
          return (await manager.output(id)).transcript?.text
        })
        return (await Promise.all(waits)).join()
      }),
      read_and_fail: reading(async (ids, context) => {
        for (const id of ids) await manager.output(id, { timeoutMs: 0, reader: readerOf(context) })
        throw new Error('out of luck')
      }),
      read_and_hang: reading(async (ids, context) => {
        for (const id of ids) await manager.output(id, { timeoutMs: 0, reader: readerOf(context) })
        return new Promise(() => {})
      }),
      read_for_nobody: reading(async (ids, { sessionID }) => {
        for (const id of ids)
          await manager.output(id, { timeoutMs: 0, reader: { sessionID, callID: 'call_of_nobody' } })
        return 'read'
      }),
      mistakes: tool({
        description: 'Makes each mistake.',
        args: {},
        async execute(_, { sessionID: parentID }) {
          const request = { parentID, agent: 'general', description: 'a', prompt: 'work' }
          const made = [
            manager.launch({ ...request, prompt: ' ' }),
            manager.launch({ ...request, agent: 'nobody' }),
            manager.launch({ ...request, model: 'mock/none' }),
            manager.launch({ ...request, parentID: 'ses_00000000000000000000000000' }),
            manager.continue('bg_00000000', 'go on'),
            manager.waitForCompletion('bg_00000000'),
          ]
          const codes = made.map((mistake) =>
            mistake.then(
              () => 'none',
              (error: unknown) =>
                error instanceof ToolError
                  ? error.code + (error.cause instanceof HostError ? '!' : '')
                  : String(error),
            ),
          )
          return (await Promise.all(codes)).join()
        },
      }),
    },
    ...manager.hooks(),
  }
}

export default { id: 'reading', server }
`

/** An author's code that uses the whole interface of the library. */
const USES = `
import type { Hooks, PluginInput } from '@opencode-ai/plugin'
import {
  BackgroundManager,
  HostError,
  isEnded,
  readerOf,
  ToolError,
  type LaunchRequest,
  type ManagerInput,
  type OptionsInput,
  type Task,
  type TaskMessage,
} from 'opencode-background/manager'

export const total: number | undefined = Number(process.argv[2]) || undefined
export const options: OptionsInput = {
  concurrency: { total, providers: { anthropic: 2 }, models: { 'a/b': 1 }, commands: undefined },
  notify: { wake: 'all', debounceMs: 100 },
  timeoutMs: total,
  commands: undefined,
}

export function managerOf({ client, directory, serverUrl }: PluginInput, name?: string): BackgroundManager {
  const input: ManagerInput = { client, directory, serverUrl, name, options, tools: { read: name } }
  return new BackgroundManager(input)
}

export async function use(manager: BackgroundManager, request: LaunchRequest, model?: string): Promise<string[]> {
  const { id }: Task = await manager.launch({ ...request, model, variant: model })
  const command = { parentID: 's', command: 'x', cwd: '/', description: 'd', timeoutMs: 0, notifyOn: [] }
  const exit = (await manager.launchCommand(command)).kind
  await manager.continue(id, 'more', { description: model })
  const reader = readerOf({ sessionID: 's', messageID: 'm' })
  const waited = await manager.waitForCompletion(id, { timeoutMs: total, signal: undefined, reader })
  const ended: number = waited.type === 'ended' ? waited.task.endedAt : waited.task.createdAt
  const { task, transcript, messages, output, receipt } = await manager.output(id, { timeoutMs: 5, reader })
  const parts = messages.flatMap(({ parts }: TaskMessage) =>
    parts.flatMap((part) => (part.type === 'tool' && part.state.status === 'completed' ? [part.state.output] : [])),
  )
  if (isEnded(task) && task.status === 'failed') parts.push(task.failure.reason)
  parts.push(transcript?.text ?? '', output?.stdout.text ?? '', receipt.backgroundRead ?? '', exit, String(ended))
  try {
    parts.push(String(await manager.cancelAll('s')), (await manager.cancel(id)).status)
  } catch (error) {
    if (error instanceof ToolError && error.code === 'unknownTask') parts.push(error.message)
    if (error instanceof HostError) parts.push(error.reason)
  }
  return [...parts, ...manager.problems, ...manager.list('s').map((each) => each.description)]
}

export function hooksOf(manager: BackgroundManager): Hooks {
  manager.on((step, task) => {
    if (step.type === 'transition' && step.event === 'ended') console.log(task.description, step.status)
  })
  return manager.hooks()
}
`

/** Each wrong line must have an error, otherwise the compiler reports its `@ts-expect-error`. */
const MISTAKES = `
import { BackgroundManager, type OptionsInput } from 'opencode-background/manager'
declare const client: { app: object; config: object; session: object; tui: object }
const manager = new BackgroundManager({ client, directory: '/' })
// @ts-expect-error
const four: OptionsInput = { concurrency: { total: 'four' } }
// @ts-expect-error
const unknown: OptionsInput = { timoutMs: 5 }
// @ts-expect-error
const inside: OptionsInput = { notify: { wakes: 'all' } }
// @ts-expect-error
const word: OptionsInput = { notify: { wake: 'sometimes' } }
// @ts-expect-error
const models: OptionsInput = { concurrency: { models: { 'a/b': '1' } } }
// @ts-expect-error
new BackgroundManager({ client, directory: '/', opts: {} })
// @ts-expect-error
new BackgroundManager({ client: {}, directory: '/' })
// @ts-expect-error
new BackgroundManager({ client, directory: '/' }, {})
// @ts-expect-error
void manager.launch({ parentID: 's', agent: 'general', description: 'no prompt' })
// @ts-expect-error
void manager.waitForCompletion('bg_1', 5000)
// @ts-expect-error
void manager.waitForCompletion('bg_1').then(({ task }) => task.endedAt)
// @ts-expect-error
void manager.output('bg_1', { reader: { sessionID: 's' } })
// @ts-expect-error
void manager.toolNames
export { four, unknown, inside, word, models }
`

const ALONE = `
import server from 'opencode-background'
import { BackgroundManager } from 'opencode-background/manager'
import sameServer from 'opencode-background/server'
import tui from 'opencode-background/tui'
export const ids: string[] = [server.id, sameServer.id, tui.id]
export const Manager: typeof BackgroundManager = BackgroundManager
`

const FILES = {
  'look-up.ts': LOOK_UP,
  'review.ts': REVIEW,
  'ask.ts': ASK,
  'reading.ts': READING,
  'uses.ts': USES,
  'mistakes.ts': MISTAKES,
  'alone.ts': ALONE,
}

/** The folder of an author with the host's types; `bare` is that of one with our package alone. */
let folder: string
let bare: string

beforeAll(async () => {
  folder = await authorsFolder()
  addHostTypes(folder)
  for (const [file, code] of Object.entries(FILES)) writeFileSync(join(folder, file), code)
  bare = await authorsFolder()
  writeFileSync(join(bare, 'package.json'), '{}')
  writeFileSync(join(bare, 'alone.ts'), ALONE)
})

const EXACT = ['--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--verbatimModuleSyntax']
const NODE = ['--module', 'nodenext', '--types', 'node']
const BUNDLER = ['--module', 'esnext', '--moduleResolution', 'bundler', '--types', 'node']

describe('N2: an author’s plugin and its declarations compile strictly with the packed tarball', () => {
  test.for([
    ['as Node resolves', NODE],
    ['as Node resolves, with exact optional properties', [...NODE, ...EXACT]],
    ['as bundlers resolve', BUNDLER],
    ['as bundlers resolve, with exact optional properties', [...BUNDLER, ...EXACT]],
  ] as const)('%s', async ([, options]) => {
    expect(await compile(folder, Object.keys(FILES), options)).toBe('')
  })

  test('by the TypeScript before ours', async () => {
    expect(await compile(folder, Object.keys(FILES), [...NODE, ...EXACT], 'TypeScript 6')).toBe('')
  })
})

test('N2: the declarations need no other package, neither of the host nor of Node', async () => {
  const options = ['--module', 'nodenext', '--types', '', '--lib', 'es2023,dom']
  expect(await compile(bare, ['alone.ts'], options)).toBe('')
})

test('N2: a CommonJS project loads the library by require, with its types', async () => {
  const code = `const { BackgroundManager } = require('opencode-background/manager')\n`
  writeFileSync(join(bare, 'taken.cjs'), `${code}console.log(typeof BackgroundManager)`)
  const { stdout } = await run(process.execPath, ['--no-warnings', 'taken.cjs'], { cwd: bare })
  expect(stdout).toBe('function\n')
  expect(await compile(bare, ['alone.ts'], NODE)).toBe('')
})

test('N10: docs/library.md names each export and each member of the manager', () => {
  const types = join(folder, 'node_modules', 'opencode-background', 'dist', 'types', 'manager.d.ts')
  const declared = readFileSync(types, 'utf8')
  const exported = [...declared.matchAll(/^export declare \w+ (\w+)/gm)].map(([, name]) => name)
  const [, members = ''] = /^export declare class BackgroundManager \{([^]*?)^\}/m.exec(declared) ?? []
  const named = [...members.matchAll(/^ {4}(?:readonly |get )?(\w+)[(:]/gm)].map(([, name]) => name)
  expect(named).toContain('waitForCompletion')
  const docs = readFileSync(join(root, 'docs', 'library.md'), 'utf8')
  const isMissing = (name = ''): boolean => !new RegExp(`\\b${name}\\b`).test(docs)
  expect([...exported, ...named].filter((name) => name !== 'constructor' && isMissing(name))).toEqual([])
})

describe('an author’s plugin on the real OpenCode', () => {
  let stage: Stage

  beforeAll(async () => {
    stage = await startStage({
      before: ['reading.ts', 'review.ts', 'look-up.ts'].map((file) => join(folder, file)),
    })
  })
  afterAll(() => stage.close())

  const call = (name: string, args: object = {}): ToolCall => ({ name, args: { ...args } })

  /** Starts agents, and releases their answers once the reading tool runs. */
  async function readBy(name: string, ...prompts: string[]): Promise<[Parent, string]> {
    const { reply, release } = heldReply()
    const parent = await stage.parent(() => reply)
    await parent.call([call('start', { prompts })])
    await stage.model.waitForRequest(() => parent.childRequests.length === prompts.length)
    const { result } = await parent.begin(call(name))
    release({ text: 'their answer' })
    return [parent, await result()]
  }

  /** Sends a user message, which carries all pending notices, and resolves with the number of reported ends. */
  async function toldBy(parent: Parent): Promise<number> {
    await parent.say('And now?')
    return parent.noticeText.split('<background_task ').length - 1
  }

  test('N3: no notice reports two ends that one tool call has awaited and read', async () => {
    const [parent, read] = await readBy('read_both_ways', 'one', 'two')
    expect(read).toBe('ended their answer,ended their answer')
    expect(await toldBy(parent)).toBe(0)
  })

  test('N3: a notice reports two ends that were read without a reader', async () => {
    const [parent, read] = await readBy('read_unread', 'one', 'two')
    expect(read).toBe('their answer,their answer')
    await parent.waitForNotice('their answer')
    expect(await toldBy(parent)).toBe(2)
  })

  test('N3: a notice reports an end when the tool call that has read it fails', async () => {
    const [parent, read] = await readBy('read_and_fail', 'one')
    expect(read).toContain('out of luck')
    await parent.waitForNotice('their answer')
    expect(await toldBy(parent)).toBe(1)
  })

  test('N3: a notice reports an end when the tool call that has read it was never stored', async () => {
    const [parent, read] = await readBy('read_for_nobody', 'one')
    expect(read).toBe('read')
    await parent.waitForNotice('their answer')
    expect(await toldBy(parent)).toBe(1)
  })

  test('N3: the next message carries the notice of an end when ESC ends the tool call that has read it', async () => {
    const { reply, release } = heldReply()
    const parent = await stage.parent(() => reply)
    await parent.call([call('start', { prompts: ['one'] })])
    await stage.model.waitForRequest(() => parent.childRequests.length === 1)
    await parent.begin(call('read_and_hang'))
    release({ text: 'their answer' })
    await parent.childrenAreIdle()
    await stage.server.client.session.abort({ path: { id: parent.id } })
    expect(parent.noticeTurns).toHaveLength(0)
    await stage.server.prompt(parent.id, 'Go on.')
    await parent.waitForNotice('their answer')
    expect(await toldBy(parent)).toBe(1)
  })

  test('N3: the first example of docs/library.md and the plugin leave the tasks of each other alone', async () => {
    const { reply, release } = heldReply()
    const parent = await stage.parent(({ messages }) =>
      messages.at(-1)?.content === 'ours' ? reply : { text: 'found by the other plugin' },
    )
    const [ours] = await parent.launch('ours')
    await parent.quietBesidesChildren()
    const [answer] = await parent.call([call('look_up', { question: 'where is it?' })])
    expect(answer).toBe('found by the other plugin')
    const [list, cancelled] = await parent.call([
      call('list_background'),
      call('background_cancel', { all: true }),
    ])
    expect(list).toContain('(1 total)')
    expect(list).toContain(ours)
    expect(cancelled).toContain(`${ours} (ours) was cancelled`)
    release({ text: 'too late' })
    // No notice reports the end that the example has awaited, nor the cancelled task.
    expect(await toldBy(parent)).toBe(0)
    expect(parent.childRequests).toHaveLength(2)
  })

  test('N3: after a kill of OpenCode, a notice repeats an end only if its receipt was not returned', async () => {
    const [without] = await readBy('read_both_ways', 'one')
    // A review that ends before its result is read is told by a notice.
    const { reply, release } = heldReply()
    const parent = await stage.parent(() => reply)
    const [launched = ''] = await parent.call([call('review', { files: ['README.md'], agent: 'general' })])
    const id = /bg_[0-9a-f]{8}/.exec(launched)?.[0]
    const { result } = await parent.begin(call('review_result', { id }))
    release({ text: 'reviewed' })
    expect(await result()).toBe('reviewed')
    await stage.restart('SIGKILL')
    expect(await toldBy(parent)).toBe(0)
    // The author's manager has a clock of its own, so that quiet does not prove that it has sent its notice.
    await without.say('Where were we?')
    await without.waitForNotice('their answer')
    expect(await toldBy(without)).toBe(1)
  })

  test('N4: a notice names only the tool that the author has named', async () => {
    const parent = await stage.parent(() => ({ text: 'reviewed' }))
    await parent.call([call('review', { files: ['README.md'], agent: 'general' })])
    await parent.waitForNotice('reviewed')
    expect(parent.noticeText).toContain('More: review_result.]')
    const [other] = await readBy('read_unread', 'one')
    await other.waitForNotice('their answer')
    expect(other.noticeText).toMatch(/running\.\]$/)
  })

  test('N9: each mistake has its own code', async () => {
    const parent = await stage.parent()
    const [codes] = await parent.call([call('mistakes')])
    expect(codes).toBe('emptyPrompt,unknownAgent,unknownModel,unknownSession!,unknownTask,unknownTask')
  })

  test('N10: the example of docs/library.md reviews files, waits for the reviews, and names the agents', async () => {
    const parent = await stage.parent(() => ({ text: 'reviewed' }))
    const files = ['README.md', 'AGENTS.md']
    const [launched = '', refused] = await parent.call([
      call('review', { files, agent: 'explore' }),
      call('review', { files, agent: 'nobody' }),
    ])
    expect(refused).toMatch(/There is no agent nobody. Take one of: .*explore/)
    const ids = launched.match(/bg_[0-9a-f]{8}/g) ?? []
    expect(ids).toHaveLength(2)
    const reviews = await parent.call(ids.map((id) => call('review_result', { id })))
    expect(reviews).toEqual(['reviewed', 'reviewed'])
    const [foreign] = await parent.call([call('review_result', { id: 'bg_00000000' })])
    expect(foreign).toBe('This session has launched no bg_00000000.')
  })
})

test('N10: the script of docs/library.md prints the answers of three agents of a running server', async () => {
  const stage = await startStage({ plugins: [], env: { OPENCODE_SERVER_PASSWORD: 'secret' } })
  try {
    stage.model.script = ({ messages }) => ({ text: `An answer to "${messages.at(-1)?.content}"` })
    const tsx = fileURLToPath(import.meta.resolve('tsx/cli'))
    const { url, directory } = stage.server
    const { stdout } = await run(process.execPath, [tsx, join(folder, 'ask.ts'), url], {
      cwd: directory,
      env: { ...process.env, OPENCODE_SERVER_PASSWORD: 'secret' },
    })
    expect(stdout).toBe(
      ['What does it do?', 'How is it built?', 'How is it tested?']
        .map((question) => `${question} (completed)\nAn answer to "${question}"\n\n`)
        .join(''),
    )
  } finally {
    await stage.close()
  }
})

test('N5: the steps of docs/library.md for a file in .opencode/plugin work literally', async () => {
  const { path, directory } = createHome()
  const page = readFileSync(join(root, 'docs', 'library.md'), 'utf8')
  const [, steps = ''] = /^npm (install --prefix \.opencode .*)$/m.exec(page) ?? []
  // The host's package needs a registry, so the test puts it where npm would.
  const packed = { 'opencode-background': await tarball(), '@opencode-ai/plugin': '--offline' }
  const words = steps.split(' ').map((word) => packed[word as keyof typeof packed] ?? word)
  mkdirSync(join(directory, '.opencode', 'plugin'), { recursive: true })
  await run('npm', words, { cwd: directory })
  const config = join(directory, '.opencode')
  addHostTypes(config)
  for (const file of ['package.json', 'package-lock.json']) noteHostTypes(join(config, file))
  const [, name = ''] = /write this file as `\.opencode\/(plugin\/[\w.-]+)`/.exec(page) ?? []
  writeFileSync(join(config, name), LOOK_UP)
  const stage = await startStage({ home: path, plugins: [] })
  try {
    const parent = await stage.parent(() => ({ text: 'in the attic' }))
    const [answer] = await parent.call([{ name: 'look_up', args: { question: 'where is it?' } }])
    expect(answer).toBe('in the attic')
  } finally {
    await stage.close()
  }
})

/** Adds the host's types to the manifest as npm would. */
function noteHostTypes(path: string): void {
  interface Named {
    dependencies: Record<string, string>
  }
  const file = JSON.parse(readFileSync(path, 'utf8')) as Named & { packages?: Record<'', Named> }
  const { dependencies } = file.packages?.[''] ?? file
  dependencies['@opencode-ai/plugin'] = '*'
  writeFileSync(path, JSON.stringify(file))
}
