/** Tests the harness on the real binary, which the other end-to-end tests rely on. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { probePlugin } from '../harness/plugin.ts'
import { isAlive } from '../harness/processes.ts'
import type { Reply } from '../harness/script.ts'
import { startOpencode, type OpencodeServer, type StoredMessage } from '../harness/server.ts'

let model: ScriptedModel
let opencode: OpencodeServer
const probe = probePlugin()

beforeAll(async () => {
  model = await startModel()
  opencode = await startOpencode({ model, plugins: [probe.spec] })
})

afterAll(async () => {
  await opencode.stop()
  await model.close()
})

beforeEach(() => {
  model.script = () => ({ text: 'ok' })
})

describe('a script', () => {
  test('a user message reaches the model, and OpenCode stores its answer', async () => {
    model.script = () => ({ reasoning: 'They greet me.', text: 'Hello to you.' })
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Hello')

    const request = await model.waitForRequest((it) => it.sessionID === id, { description: 'the greeting' })
    expect(request.messages.at(-1)).toEqual({ role: 'user', content: 'Hello' })
    expect(request).toMatchObject({ model: 'm1', parentSessionID: undefined })
    expect(request.tools).toContain('bash')

    const answer = (await opencode.waitForIdle(id)).at(-1)
    expect(answer?.info).toMatchObject({ role: 'assistant', finish: 'stop' })
    expect(textOf(answer, 'text')).toBe('Hello to you.')
    expect(textOf(answer, 'reasoning')).toBe('They greet me.')
    expect(model.requestsOf(id)).toMatchObject([{ outcome: 'answered', concurrency: 1 }])
  })

  test("a request of a child names its parent's session", async () => {
    const parent = await opencode.createSession({ metadata: { kept: true } })
    const child = await opencode.createSession({ parentID: parent.id })
    await opencode.prompt(child.id, 'Work')
    await opencode.waitForIdle(child.id)
    expect(model.requestsOf(child.id)).toMatchObject([{ parentSessionID: parent.id }])
    expect(parent.metadata).toEqual({ kept: true })
  })

  test('OpenCode executes a tool call, and the model receives its output', async () => {
    writeFileSync(join(opencode.directory, 'note.txt'), 'the hidden word is heron')
    const path = join(opencode.directory, 'note.txt')
    model.script = ({ messages }): Reply => {
      if (messages.at(-1)?.role === 'tool') return { text: 'Read it.' }
      const bash = { command: 'echo $((6 * 7))', description: 'Multiply' }
      return {
        tools: [
          { name: 'read', args: { filePath: path } },
          { name: 'bash', args: bash },
        ],
      }
    }
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Read the note')
    const stored = await opencode.waitForIdle(id)

    expect(textOf(stored.at(-1), 'text')).toBe('Read it.')
    const seen = model
      .requestsOf(id)
      .at(-1)
      ?.messages.filter(({ role }) => role === 'tool')
    expect(seen?.[0]?.content).toContain('the hidden word is heron')
    expect(seen?.[1]?.content).toContain('42')
  })

  test('a prompt runs with the model and variant that it names', async () => {
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Think', { model: 'm3', variant: 'high' })
    await opencode.waitForIdle(id)
    expect(model.requestsOf(id)).toMatchObject([{ model: 'm3', raw: { reasoning_effort: 'high' } }])
  })

  test('an empty answer is stored as a finished message without text', async () => {
    model.script = () => ({})
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Say nothing')
    const answer = (await opencode.waitForIdle(id)).at(-1)
    expect(answer?.info).toMatchObject({ finish: 'stop' })
    expect(textOf(answer, 'text')).toBe('')
  })

  test('a provider that answers 400 leaves its error on the message', async () => {
    model.script = () => ({ status: 400, text: 'no such deployment' })
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Hello')
    const answer = (await opencode.waitForIdle(id)).at(-1)
    expect(answer?.info).toMatchObject({
      error: {
        name: 'APIError',
        data: { message: 'no such deployment', statusCode: 400, isRetryable: false },
      },
    })
  })

  test('OpenCode retries a provider that answers 429 when its header allows', async () => {
    const replies: Reply[] = [{ status: 429, text: 'slow down', headers: { 'retry-after-ms': '300' } }]
    model.script = () => replies.shift() ?? { text: 'now' }
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Hello')
    expect(textOf((await opencode.waitForIdle(id)).at(-1), 'text')).toBe('now')
    const [first, second] = model.requestsOf(id)
    expect(Number(second?.at) - Number(first?.endedAt)).toBeGreaterThanOrEqual(290)
  })

  test('an answer that is cut off arrives in part, and OpenCode retries it', async () => {
    const { id } = await opencode.createSession()
    // OpenCode drops a text that it has not read before the end of the connection.
    const isRead = opencode.events.waitFor(
      ({ type, properties }) =>
        type === 'message.part.delta' && properties.sessionID === id && properties.delta.startsWith('half'),
      { description: 'the first half' },
    )
    const replies: Reply[] = [{ text: 'half an answer', cut: isRead.then(() => undefined) }]
    model.script = () => replies.shift() ?? { text: 'a whole answer' }
    await opencode.prompt(id, 'Hello')
    await isRead
    await opencode.events.waitFor(
      ({ type, properties }) =>
        type === 'session.status' && properties.sessionID === id && properties.status.type === 'retry',
      { description: 'a retry' },
    )
    expect(textOf((await opencode.waitForIdle(id)).at(-1), 'text')).toBe('a whole answer')
    expect(model.requestsOf(id)).toMatchObject([{ outcome: 'answered' }, { outcome: 'answered' }])
  })

  test('an aborted request is logged as closed by the client', async () => {
    model.script = () => new Promise(() => {})
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Take your time')
    await model.waitForRequest((it) => it.sessionID === id && it.outcome === 'open')
    await opencode.client.session.abort({ path: { id } })
    const request = await model.waitForRequest((it) => it.sessionID === id && it.outcome === 'closed')
    expect(request.endedAt).toBeGreaterThanOrEqual(request.at)
    expect((await opencode.waitForIdle(id)).at(-1)?.info).toMatchObject({
      error: { name: 'MessageAbortedError' },
    })
  })

  test('a request for a title is answered and stays out of the log', async () => {
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Hello')
    await opencode.events.waitFor(
      ({ type, properties }) =>
        type === 'session.updated' && properties.sessionID === id && properties.info.title === 'A title',
      { description: 'the new title' },
    )
    await opencode.waitForIdle(id)
    expect(model.requestsOf(id)).toHaveLength(1)
    expect(model.requests.filter(({ sessionID }) => sessionID === '')).toEqual([])
  })
})

describe('an observer', () => {
  test('a failed wait lists the items instead', async () => {
    const { id } = await opencode.createSession()
    await opencode.prompt(id, 'Where is it?')
    await opencode.waitForIdle(id)
    const wait = model.waitForRequest(() => false, { timeoutMs: 10, description: 'the impossible' })
    await expect(wait).rejects.toThrow(/the impossible[^]*Where is it\?/)
  })

  test('the probe logs events and runs calls with the client of a plugin', async () => {
    const created = await probe.run(
      'return (await client.session.create({ body: { title: "From inside" } })).data',
    )
    const { id } = created as { id: string }
    await opencode.events.waitFor(
      ({ type, properties }) => type === 'session.created' && properties.sessionID === id,
    )
    const seen = (): string[] =>
      probe.sightings().map((it) => (it.kind === 'event' ? it.event.type : it.kind))
    await expect.poll(seen).toContain('session.created')
    expect(probe.sightings()).toContainEqual(expect.objectContaining({ kind: 'call', path: '/session' }))
    await expect(probe.run('throw new Error("from inside")')).rejects.toThrow('from inside')
  })
})

describe('the mark of the driver plugin', () => {
  test('reaches a plugin after all events before it', async () => {
    await probe.run(`
      const ids = []
      for (let count = 0; count < 5; count += 1)
        ids.push((await client.session.create({ body: { title: 'to be renamed' } })).data.id)
      for (let round = 0; round < 20; round += 1) {
        const rename = (id) => client.session.update({ path: { id }, body: { title: 'round ' + round } })
        await Promise.all(ids.map(rename))
        const properties = { command: 'end of round ' + round }
        await client.tui.publish({ body: { type: 'tui.command.execute', properties } })
      }
    `)
    const told = (): string[] =>
      probe.sightings().flatMap((sighting) => {
        if (sighting.kind !== 'event') return []
        const { info, command } = sighting.event.properties as {
          info?: { title?: string }
          command?: string
        }
        const title = sighting.event.type === 'session.updated' ? info?.title : undefined
        return [command ?? title ?? ''].filter((name) => /round \d+$/.test(name))
      })
    await expect.poll(() => told().length).toBe(20 * 6)
    const renames = ['round', 'round', 'round', 'round', 'round']
    const expected = Array.from({ length: 20 }, (_, round) =>
      [...renames, 'end of round'].map((name) => `${name} ${round}`),
    )
    expect(told()).toEqual(expected.flat())
  })
})

describe('a server', () => {
  test('retains its sessions after a kill and a restart in its home', async () => {
    const first = await startOpencode({ model })
    const { id } = await first.createSession({ title: 'Survivor' })
    await first.stop({ signal: 'SIGKILL', keepHome: true })

    const second = await startOpencode({ model, home: first.home })
    const { data } = await second.client.session.get({ path: { id } })
    await second.stop()
    expect(data?.title).toBe('Survivor')
  })

  test('leaves neither process nor home behind when it is stopped', async () => {
    const server = await startOpencode({ model })
    expect(isAlive(server.pid)).toBe(true)
    await server.stop()
    expect(isAlive(server.pid)).toBe(false)
    expect(existsSync(server.home)).toBe(false)
  })

  test('starts with a plugin without waiting for an install of packages', async () => {
    const own = probePlugin()
    const server = await startOpencode({ model, plugins: [own.spec] })
    const log = await server.log()
    const sightings = own.sightings()
    await server.stop()
    own.close()
    expect(sightings).not.toEqual([])
    // Without `skipPluginInstall` it takes 73 seconds, because npm retries the dead proxy, and OpenCode logs the failure.
    expect(log).not.toContain('dependency install')
  })
})

function textOf(message: StoredMessage | undefined, type: 'text' | 'reasoning'): string {
  return (message?.parts ?? []).map((part) => (part.type === type ? part.text : '')).join('')
}
