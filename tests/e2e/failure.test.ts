import { afterAll, beforeAll, expect, test } from 'vitest'
import { heldReply, inOrder, never, READ } from '../harness/replies.ts'
import type { Script } from '../harness/script.ts'
import { startStage, type Stage } from '../harness/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await startStage({ config: { permission: { bash: { 'rm *': 'ask' } } } })
})
afterAll(() => stage.close())

test('a child whose model answers with HTTP 400 is reported once, as failed, with the text', async () => {
  const parent = await stage.parent(() => ({ status: 400, text: 'the prompt is too purple' }))
  const [id] = await parent.launch('paint it')
  await parent.waitForNotice('the prompt is too purple')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText.match(/<background_task /g)).toHaveLength(1)
  expect(parent.noticeText).toMatch(new RegExp(`<background_task id="${id}".* status="failed"`))
  expect(parent.noticeText).toContain('<error>the prompt is too purple</error>')
})

test("a child whose context overflows continues after the host's summary, and is reported completed", async () => {
  let overflown = false
  const parent = await stage.parent(({ tools }) => {
    if (tools.length === 0) return { text: 'A summary.' }
    if (overflown) return { text: 'done after all' }
    overflown = true
    return { status: 400, text: 'context length exceeded' }
  })
  await parent.launch('read everything')
  await parent.waitForNotice('<result>done after all</result>')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('status="completed"')
})

test('a child whose summary overflows too is reported once, as failed, with the text', async () => {
  const parent = await stage.parent(() => ({ status: 400, text: 'context length exceeded' }))
  await parent.launch('read everything')
  await parent.waitForNotice('Session too large to compact')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a child that answers nothing is reported once, as failed', async () => {
  const parent = await stage.parent(() => ({}))
  await parent.launch('say something')
  await parent.waitForNotice('<error>the agent ended without any text or tool call')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a child whose tool call the user rejects is reported once, as failed, with the rejection', async () => {
  const parent = await stage.parent(() => ({ tools: [{ name: 'bash', args: { command: 'rm -rf build' } }] }))
  await parent.launch('clean up')
  const asked = await stage.server.events.waitFor((event) => event.type === 'permission.asked')
  if (asked.type !== 'permission.asked') throw new Error('unreachable')
  const { id: permissionID, sessionID: id } = asked.properties
  await stage.server.client.postSessionIdPermissionsPermissionId({
    path: { id, permissionID },
    body: { response: 'reject' },
  })
  await parent.waitForNotice('status="failed"')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toMatch(/<error>.*rejected.*<\/error>/)
})

test('a child that continues after a failed tool call is reported once, as completed', async () => {
  const parent = await stage.parent(({ messages }) =>
    messages.at(-1)?.role === 'tool'
      ? { text: 'there is none' }
      : { tools: [{ name: 'read', args: { filePath: 'missing.txt' } }] },
  )
  await parent.launch('read it')
  await parent.waitForNotice('<result>there is none</result>')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('status="completed"')
})

test('a child that the user aborts is reported once, as cancelled by the user, with its partial text', async () => {
  const parent = await stage.parent(never)
  await parent.launch('wait for it')
  const { sessionID } = await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  await stage.server.client.session.abort({ path: { id: sessionID } })
  await parent.waitForNotice('by="user"')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('status="cancelled"')
})

test('a running child that the user deletes is reported once, and its model call is closed', async () => {
  const parent = await stage.parent(never)
  await parent.launch('vanish')
  const { sessionID } = await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  await stage.server.client.session.delete({ path: { id: sessionID } })
  await parent.waitForNotice('by="user"')
  await stage.model.waitForRequest(
    (request) => request.sessionID === sessionID && request.outcome === 'closed',
  )
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a user message in a child neither ends its task nor replaces its result', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(({ messages }) => {
    if (messages.at(-1)?.content.includes('by the way')) return { text: 'an aside' }
    return reply
  })
  await parent.launch('work')
  const { sessionID } = await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  await stage.server.prompt(sessionID, 'by the way')
  release({ text: 'the result' })
  await parent.waitForNotice('<result>the result</result>')
  await parent.quiet()
  expect(parent.noticeText).not.toContain('an aside')
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a child that works on under a user message ends with the answer to both', async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(({ messages }) => {
    const last = messages.at(-1)
    if (last?.content.includes('by the way')) return { text: 'the result, and an aside' }
    return reply
  })
  await parent.launch('work')
  const { sessionID } = await stage.model.waitForRequest((request) => request.parentSessionID === parent.id)
  await stage.server.prompt(sessionID, 'by the way')
  release(READ)
  await parent.waitForNotice('<result>the result, and an aside</result>')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a child that ends without text after a tool call is reported once, as completed without text', async () => {
  const parent = await stage.parent(inOrder(READ, {}))
  await parent.launch('look and be silent')
  await parent.waitForNotice('ended without any text')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('status="completed"')
})

test('a child whose answer exceeds its length limit is reported once, with its text', async () => {
  const parent = await stage.parent(() => ({ text: 'it goes on and', finish: 'length' }))
  await parent.launch('tell a story')
  await parent.waitForNotice('it goes on and')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('status="completed"')
})

test.each([
  { what: 'a request that fails with HTTP 500', failing: { status: 500, text: 'overloaded' } },
  { what: 'a stream that is cut', failing: { text: 'half a', cut: true } },
])('a child that recovers from $what is reported once, as completed', async ({ failing }) => {
  const parent = await stage.parent(inOrder(failing, { text: 'all of it' }))
  await parent.launch('try hard')
  await parent.waitForNotice('all of it')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
  expect(parent.noticeText).toContain('<result>all of it</result>')
  expect(parent.childRequests).toHaveLength(2)
})

test('a child whose answer fills its context is reported with that answer', async () => {
  let asked = 0
  const parent = await stage.parent(({ tools }) => {
    if (tools.length === 0) return { text: 'A summary.' }
    asked += 1
    return asked === 1 ? { text: 'THE RESULT', promptTokens: 199_000 } : { text: 'Nothing is left to do.' }
  })
  await parent.launch('be thorough')
  await parent.waitForNotice('<result>THE RESULT</result>')
  await parent.quiet()
  expect(parent.noticeTurns).toHaveLength(1)
})

test('a child inherits the denials of its parent session', async () => {
  const rules = [
    { permission: 'bash', pattern: '*', action: 'deny' },
    { permission: 'external_directory', pattern: '*', action: 'deny' },
    { permission: 'edit', pattern: '*', action: 'allow' },
  ]
  const parent = await stage.parent(undefined, { permission: rules })
  await parent.launch('go easy')
  await parent.waitForNotice('done')
  expect(parent.childRequests[0]?.tools).not.toContain('bash')
  const { data } = await stage.server.client.session.children({ path: { id: parent.id }, throwOnError: true })
  expect(data[0]).toHaveProperty('permission', expect.arrayContaining(rules.slice(0, 2)))
  expect(data[0]).not.toHaveProperty('permission', expect.arrayContaining(rules.slice(2)))
})

test("a parent receives no notice, list entry or output of another parent's tasks", async () => {
  const children: Script = ({ messages }) => ({ text: `result of ${messages.at(-1)?.content}` })
  const [left, right] = await Promise.all([stage.parent(children), stage.parent(children)])
  const [[leftID], [rightID]] = await Promise.all([left.launch('left'), right.launch('right')])
  await Promise.all([left.waitForNotice('result of left'), right.waitForNotice('result of right')])
  const [list, output] = await left.call([
    { name: 'list_background', args: {} },
    { name: 'background_output', args: { task_id: rightID } },
  ])
  await Promise.all([left.quiet(), right.quiet()])
  expect(left.noticeText).not.toContain('right')
  expect(right.noticeText).not.toContain('left')
  expect(list).toContain(leftID)
  expect(list).not.toContain(rightID)
  expect(output).toContain(`"${rightID}" not found. Known here: ${leftID}.`)
})
