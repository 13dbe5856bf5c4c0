import { expect, test } from 'vitest'
import { HostError, type Message, type Opencode, type Session } from '../../../src/host/opencode.ts'
import { Gate } from '../../../src/parent/gate.ts'

const PARENT = 'ses_parent'

function sessionWith(changes: Partial<Session>): Session {
  const time = { created: 0, updated: 0 }
  return { id: PARENT, agent: 'build', model: { id: 'm1', providerID: 'mock' }, time, ...changes } as Session
}

function gateOf(opencode: Opencode): Gate {
  return new Gate(opencode, PARENT, () => {})
}

interface Host {
  readonly opencode: Opencode
  /** How often it was asked for the parent. */
  readonly asked: () => number
  /** Answers the first question; from then on it answers at once. */
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

test('a parent is asked for anew at each notice, since its user may be at work in another process', async () => {
  const { opencode, asked, answer, told } = host()
  const gate = gateOf(opencode)
  const first = gate.admission()
  answer(sessionWith({}))
  expect(await first).toEqual({ type: 'open', agent: 'build', model: { providerID: 'mock', modelID: 'm1' } })
  // No event of it comes here.
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

test('for a launch a parent is asked for once, and its events are believed from then on', async () => {
  const { opencode, asked, answer, told } = host()
  const gate = gateOf(opencode)
  const first = gate.session()
  answer(sessionWith({}))
  await first
  gate.observeSession(told(sessionWith({ agent: 'plan' })))
  expect(await gate.session()).toMatchObject({ agent: 'plan' })
  expect(asked()).toBe(1)
})

test('an event that comes while the host is being asked is newer than its answer', async () => {
  const { opencode, answer, told } = host()
  const gate = gateOf(opencode)
  const admission = gate.admission()
  gate.observeSession(told(sessionWith({ agent: 'plan' })))
  answer(sessionWith({ agent: 'build' }))
  expect(await admission).toMatchObject({ agent: 'plan' })
  expect(await gate.admission()).toMatchObject({ agent: 'plan' })
})

test('a parent with undone messages may not be written to, until the undo is over', async () => {
  const { opencode, answer, told } = host()
  const gate = gateOf(opencode)
  const admission = gate.admission()
  answer(sessionWith({ revert: { messageID: 'msg_1' } }))
  expect(await admission).toEqual({ type: 'closed' })
  gate.observeSession(told(sessionWith({})))
  expect(await gate.admission()).toMatchObject({ type: 'open' })
})

test('a parent that was deleted is gone, whether an event or the host says so', async () => {
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

test('a host that does not answer is an error, and is asked again', async () => {
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

test('a variant that nobody has chosen is not sent', async () => {
  const { opencode, answer } = host()
  const admission = gateOf(opencode).admission()
  answer(sessionWith({ model: { id: 'm1', providerID: 'mock', variant: 'default' } }))
  expect(await admission).toMatchObject({ model: { providerID: 'mock', modelID: 'm1' } })
  expect(await admission).not.toHaveProperty('model.variant')
})

/** What the events of a parent's turns are, in short: `error` is one of the model's, `aborted` is the user's. */
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

function observe(gate: Gate, word: Exclude<Word, 'the same again'>, eventID: string): void {
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
  { story: 'before it is asked, which no error tells', words: ['busy', 'message aborted', 'idle'] },
  { story: 'while a retry is awaited, which no error tells', words: ['busy', 'retry', 'idle'] },
  { story: 'while it is idle', words: ['busy', 'idle', 'idle'] },
  { story: 'and another plugin has it go on', words: ['busy', 'aborted', 'idle', 'busy', 'idle'] },
  {
    story: 'and a message was stored that nobody answers',
    words: ['busy', 'aborted', 'idle', 'writes', 'stored', 'idle'],
  },
  {
    story: 'and another plugin has it go on after a message that nobody answers',
    words: [
      ...(['busy', 'aborted', 'idle', 'writes', 'stored', 'idle'] as const),
      ...(['a message of a plugin', 'busy', 'the plugin is answered', 'idle'] as const),
    ],
  },
])('a parent that the user interrupts $story may not be woken', async ({ words }) => {
  expect(await after(...words)).toBe('closed')
})

test.each<{ story: string; words: Word[] }>([
  { story: 'its turn has ended', words: ['busy', 'busy', 'idle'] },
  { story: 'its turn has failed, which says idle twice', words: ['busy', 'error', 'idle', 'idle'] },
  { story: 'a retry went well', words: ['busy', 'retry', 'busy', 'idle'] },
  {
    story: 'the user has written since, and is answered',
    words: ['busy', 'aborted', 'idle', 'writes', 'stored', 'busy', 'answered'],
  },
  { story: 'its idle is told twice', words: ['busy', 'idle', 'the same again'] },
  {
    story: 'the user has written since, and the end of the interrupted turn comes late',
    words: [
      ...(['busy', 'aborted', 'idle', 'writes', 'stored', 'busy'] as const),
      ...(['message aborted', 'answered', 'idle'] as const),
    ],
  },
  {
    story: 'the user has written since, and a plugin has put in a message of its own from the hook',
    words: [
      ...(['busy', 'aborted', 'idle', 'writes', 'a message from the same hook', 'stored'] as const),
      ...(['busy', 'the hook is answered'] as const),
    ],
  },
])('a parent may be woken when $story', async ({ words }) => {
  expect(await after(...words)).toBe('open')
})

test('a parent in the archive may not be woken, until it is taken out, which leaves a 0', async () => {
  const { opencode, answer, told } = host()
  const gate = gateOf(opencode)
  const admission = gate.admission()
  answer(sessionWith({ time: { created: 0, updated: 0, archived: 1 } }))
  expect(await admission).toEqual({ type: 'closed' })
  gate.observeSession(told(sessionWith({ time: { created: 0, updated: 0, archived: 0 } })))
  expect(await gate.admission()).toMatchObject({ type: 'open' })
})
