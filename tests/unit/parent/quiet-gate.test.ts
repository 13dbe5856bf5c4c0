import { expect, test } from 'vitest'
import { HostError, type Message, type Opencode, type Session } from '../../../src/host/opencode.ts'
import { QuietGate } from '../../../src/parent/quiet-gate.ts'

const PARENT = 'ses_parent'

function sessionWith(changes: Partial<Session>): Session {
  const time = { created: 0, updated: 0 }
  return { id: PARENT, agent: 'build', model: { id: 'm1', providerID: 'mock' }, time, ...changes } as Session
}

function gateOf(opencode: Opencode): QuietGate {
  return new QuietGate(opencode, PARENT, () => {})
}

interface Host {
  readonly opencode: Opencode
  /** Number of requests for the parent. */
  readonly asked: () => number
  /** Answers the first request; every later request is answered at once. */
  readonly answer: (session: Session | HostError) => void
  /** Changes the parent, and returns it. */
  readonly told: (session: Session) => Session
}

function host(): Host {
  let asked = 0
  let settle: { resolve: (session: Session) => void; reject: (error: HostError) => void } | undefined
  let now: Session | undefined
  let isAnswering = false
  const session = (): Promise<Session> => {
    asked += 1
    if (isAnswering && now) return Promise.resolve(now)
    return new Promise((resolve, reject) => {
      settle = { resolve, reject }
    })
  }
  return {
    opencode: { session } as unknown as Opencode,
    asked: () => asked,
    answer(answer) {
      isAnswering = true
      if (answer instanceof HostError) settle?.reject(answer)
      else {
        now ??= answer
        settle?.resolve(answer)
      }
    },
    told(changed) {
      now = changed
      return changed
    },
  }
}

test('the gate re-reads the parent for each notice, because its user may work in another process', async () => {
  const { opencode, asked, answer, told } = host()
  const gate = gateOf(opencode)
  const first = gate.admission()
  answer(sessionWith({}))
  expect(await first).toEqual({ type: 'open', agent: 'build', model: { providerID: 'mock', modelID: 'm1' } })
  // No event reports this change.
  told(sessionWith({ agent: 'plan', model: { id: 'm3', providerID: 'mock', variant: 'high' } }))
  expect(await gate.admission()).toEqual({
    type: 'open',
    agent: 'plan',
    model: { providerID: 'mock', modelID: 'm3', variant: 'high' },
  })
  told(sessionWith({ revert: { messageID: 'msg_1' } }))
  expect(await gate.admission()).toEqual({ type: 'closed' })
  expect(asked()).toBe(3)
})

test('for launches the gate reads the parent once, and then follows its events', async () => {
  const { opencode, asked, answer, told } = host()
  const gate = gateOf(opencode)
  const first = gate.session()
  answer(sessionWith({}))
  await first
  gate.observeSession(told(sessionWith({ agent: 'plan' })))
  expect(await gate.session()).toMatchObject({ agent: 'plan' })
  expect(asked()).toBe(1)
})

test('an event that arrives during a read of the parent is newer than the answer', async () => {
  const { opencode, answer, told } = host()
  const gate = gateOf(opencode)
  const admission = gate.admission()
  gate.observeSession(told(sessionWith({ agent: 'plan' })))
  answer(sessionWith({ agent: 'build' }))
  expect(await admission).toMatchObject({ agent: 'plan' })
  expect(await gate.admission()).toMatchObject({ agent: 'plan' })
})

test('the gate is closed while the parent has undone messages, and opens when the undo ends', async () => {
  const { opencode, answer, told } = host()
  const gate = gateOf(opencode)
  const admission = gate.admission()
  answer(sessionWith({ revert: { messageID: 'msg_1' } }))
  expect(await admission).toEqual({ type: 'closed' })
  gate.observeSession(told(sessionWith({})))
  expect(await gate.admission()).toMatchObject({ type: 'open' })
})

test('a deleted parent is gone, whether an event or OpenCode reports it', async () => {
  const { opencode, answer } = host()
  const gate = gateOf(opencode)
  const unknown = gate.admission()
  answer(new HostError('notFound', 'no such session'))
  expect(await unknown).toEqual({ type: 'gone' })
  const known = gate.admission()
  answer(sessionWith({}))
  await known
  gate.observeDeleted()
  expect(await gate.admission()).toEqual({ type: 'gone' })
})

test('a read without an answer is an error, and the gate reads again the next time', async () => {
  const { opencode, asked, answer } = host()
  const gate = gateOf(opencode)
  const refused = gate.admission()
  answer(new HostError('noAnswer', 'too busy'))
  await expect(refused).rejects.toThrow('too busy')
  const again = gate.admission()
  answer(sessionWith({}))
  await again
  expect(asked()).toBe(2)
})

test('the variant "default" is not sent, because the user has chosen none', async () => {
  const { opencode, answer } = host()
  const admission = gateOf(opencode).admission()
  answer(sessionWith({ model: { id: 'm1', providerID: 'mock', variant: 'default' } }))
  expect(await admission).toMatchObject({ model: { providerID: 'mock', modelID: 'm1' } })
  expect(await admission).not.toHaveProperty('model.variant')
})

test('the message whose turn was interrupted does not open the gate when it is read again', () => {
  const gate = gateOf(host().opencode)
  const answer = (id: string, created: number, parentID: string): Message =>
    ({ id, role: 'assistant', parentID, time: { created } }) as Message
  gate.observeMessage(answer('msg_2', 20, 'msg_1'))
  // An abort while a retry is awaited reports only idle.
  gate.observeStatus('retry', 'evt_1')
  gate.observeStatus('idle', 'evt_2')
  expect(gate.personStored({ id: 'msg_1', createdAt: 10 })).toBe(false)
  gate.observeMessage(answer('msg_2', 20, 'msg_1'))
  expect(gate.turn).toBe('interrupted')
  expect(gate.personStored({ id: 'msg_3', createdAt: 30 })).toBe(true)
  gate.observeMessage(answer('msg_4', 40, 'msg_3'))
  expect(gate.turn).toBe('busy')
})

test('an interrupt whose answer is known only from its late abort stays when that is read again', () => {
  const gate = gateOf(host().opencode)
  const answer = { id: 'msg_2', role: 'assistant', parentID: 'msg_1', time: { created: 20 } } as Message
  gate.observeError('MessageAbortedError')
  gate.observeMessage({ ...answer, error: { name: 'MessageAbortedError', data: { message: '' } } } as Message)
  expect(gate.personStored({ id: 'msg_1', createdAt: 10 })).toBe(false)
  gate.observeMessage(answer)
  expect(gate.turn).toBe('interrupted')
})

test('a message that is stored before the late abort of the turn before it opens the gate with its answer', () => {
  const gate = gateOf(host().opencode)
  const answer = { id: 'msg_2', role: 'assistant', parentID: 'msg_1', time: { created: 20 } } as Message
  const aborted = { ...answer, error: { name: 'MessageAbortedError', data: { message: '' } } } as Message
  gate.observeMessage(answer)
  gate.observeMessage({ id: 'msg_3', role: 'user', time: { created: 30 } } as Message)
  gate.observeMessage(aborted)
  expect(gate.personStored({ id: 'msg_3', createdAt: 30 })).toBe(true)
  gate.observeMessage({ ...answer, id: 'msg_4', parentID: 'msg_3', time: { created: 40 } } as Message)
  expect(gate.turn).toBe('busy')
})

/** Short names for the events of a parent's turns: `error` is the model's, `aborted` the user's. */
type Word =
  | 'busy'
  | 'retry'
  | 'idle'
  | 'error'
  | 'aborted'
  | 'message aborted'
  | 'stored'
  | 'a message from the same hook'
  | 'a message of a plugin'
  | 'answered'
  | 'the plugin is answered'
  | 'the hook is answered'
  | 'writes'
  | 'the same again'

const IDS: Partial<Record<Word, string>> = {
  stored: 'msg_15',
  'a message from the same hook': 'msg_16',
  'a message of a plugin': 'msg_30',
  answered: 'msg_15',
  'the plugin is answered': 'msg_30',
  'the hook is answered': 'msg_16',
}

function observe(gate: QuietGate, word: Exclude<Word, 'the same again'>, eventID: string): void {
  switch (word) {
    case 'writes':
      return gate.personWrote({ id: 'msg_15', createdAt: 15 })
    case 'error':
      return gate.observeError('APIError')
    case 'aborted':
      return gate.observeError('MessageAbortedError')
    case 'message aborted': {
      const error = { name: 'MessageAbortedError' }
      const time = { created: 10, completed: 20 }
      return gate.observeMessage({ role: 'assistant', sessionID: PARENT, time, error } as Message)
    }
    case 'busy':
    case 'retry':
    case 'idle':
      return gate.observeStatus(word, eventID)
    default: {
      const isAnswer = word.endsWith('answered')
      const messageID = IDS[word] ?? ''
      const named = isAnswer ? { id: 'msg_99', parentID: messageID } : { id: messageID }
      const time = { created: isAnswer ? 99 : Number(messageID.slice(4)) }
      const info = { ...named, role: isAnswer ? 'assistant' : 'user', sessionID: PARENT, time }
      return gate.observeMessage(info as Message)
    }
  }
}

async function after(...words: readonly Word[]): Promise<string> {
  const { opencode, answer } = host()
  const gate = gateOf(opencode)
  const known = gate.admission()
  answer(sessionWith({}))
  await known
  for (const [index, word] of words.entries()) {
    if (word === 'the same again') observe(gate, 'idle', `evt_${index - 1}`)
    else observe(gate, word, `evt_${index}`)
  }
  return (await gate.admission()).type
}

test.each<{ story: string; words: Word[] }>([
  { story: 'in mid-answer', words: ['busy', 'aborted', 'idle', 'message aborted', 'idle'] },
  { story: 'before the model request, without an error event', words: ['busy', 'message aborted', 'idle'] },
  { story: 'during a retry wait, without an error event', words: ['busy', 'retry', 'idle'] },
  { story: 'while the parent is idle', words: ['busy', 'idle', 'idle'] },
  { story: 'another plugin continues the parent', words: ['busy', 'aborted', 'idle', 'busy', 'idle'] },
  {
    story: 'a stored message gets no answer',
    words: ['busy', 'aborted', 'idle', 'writes', 'stored', 'idle'],
  },
  {
    story: 'another plugin continues the parent after an unanswered message',
    words: [
      ...(['busy', 'aborted', 'idle', 'writes', 'stored', 'idle'] as const),
      ...(['a message of a plugin', 'busy', 'the plugin is answered', 'idle'] as const),
    ],
  },
])('a user interrupt closes the gate: $story', async ({ words }) => {
  expect(await after(...words)).toBe('closed')
})

test.each<{ story: string; words: Word[] }>([
  { story: 'the turn has ended', words: ['busy', 'busy', 'idle'] },
  { story: 'the turn has failed, with two idle events', words: ['busy', 'error', 'idle', 'idle'] },
  { story: 'a retry succeeded', words: ['busy', 'retry', 'busy', 'idle'] },
  {
    story: 'the user wrote after the interrupt, and was answered',
    words: ['busy', 'aborted', 'idle', 'writes', 'stored', 'busy', 'answered'],
  },
  { story: 'one idle event arrives twice', words: ['busy', 'idle', 'the same again'] },
  {
    story: 'the user wrote after the interrupt, and the interrupted turn ends late',
    words: [
      ...(['busy', 'aborted', 'idle', 'writes', 'stored', 'busy'] as const),
      ...(['message aborted', 'answered', 'idle'] as const),
    ],
  },
  {
    story: 'the user wrote after the interrupt, and a plugin added a message from the same hook',
    words: [
      ...(['busy', 'aborted', 'idle', 'writes', 'a message from the same hook', 'stored'] as const),
      ...(['busy', 'the hook is answered'] as const),
    ],
  },
])('the gate is open: $story', async ({ words }) => {
  expect(await after(...words)).toBe('open')
})

test('the gate is closed while the parent is archived; unarchiving sets `archived` to 0', async () => {
  const { opencode, answer, told } = host()
  const gate = gateOf(opencode)
  const admission = gate.admission()
  answer(sessionWith({ time: { created: 0, updated: 0, archived: 1 } }))
  expect(await admission).toEqual({ type: 'closed' })
  gate.observeSession(told(sessionWith({ time: { created: 0, updated: 0, archived: 0 } })))
  expect(await gate.admission()).toMatchObject({ type: 'open' })
})
