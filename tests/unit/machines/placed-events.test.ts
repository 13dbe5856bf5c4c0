import { expect, test } from 'vitest'
import type { Event } from '../../../src/host/opencode.ts'
import { translated } from '../../../src/machines/placed-events.ts'

const event = (type: string, properties: object): Event => ({ id: 'evt_1', type, properties }) as never

test.each([
  [
    event('session.status', { sessionID: 'there', status: { type: 'idle' } }),
    { sessionID: 'own', status: { type: 'idle' } },
  ],
  [
    event('message.updated', { info: { id: 'msg_1', sessionID: 'there', role: 'user' } }),
    { info: { id: 'msg_1', sessionID: 'own', role: 'user' } },
  ],
  [
    event('message.part.updated', { sessionID: 'there', part: { id: 'prt_1', sessionID: 'there' } }),
    { sessionID: 'own', part: { id: 'prt_1', sessionID: 'own' } },
  ],
  [event('session.deleted', { info: { id: 'there' } }), { info: { id: 'own' } }],
])('an event of the session there becomes one of the task: %j', (given, properties) => {
  expect(translated(given, 'there', 'own')).toEqual({ ...given, properties })
})

test.each([
  event('session.status', { sessionID: 'another', status: { type: 'idle' } }),
  event('session.deleted', { info: { id: 'another' } }),
  event('server.heartbeat', {}),
  // Its metadata is not the record of the task.
  event('session.updated', { info: { id: 'there', metadata: {} } }),
])('an event of another session, or of what is not the task, is left out: %j', (given) => {
  expect(translated(given, 'there', 'own')).toBeUndefined()
})
