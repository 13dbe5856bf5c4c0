/** The ports on which a command listens. */
import { expect, test } from 'vitest'
import { listeningPort } from '../../src/work/command/listening-port.ts'
import { run, written } from './commands.ts'

const LISTEN = `'${process.execPath}' -e "
  const server = require('net').createServer().listen(0, process.argv[1], () => console.log('port', server.address().port, '.'))
"`

test.each(['127.0.0.1', '::1', '::'])(
  'a command whose child process listens on %s has a port',
  async (host) => {
    const { process: child } = run(`(${LISTEN} ${host}) & wait`)
    await written(child, ' .')
    const [, port] = /port (\d+)/.exec(child.tail('stdout', { bytes: 100 }).text) ?? []
    expect(listeningPort(child.pid)).toBe(Number(port))
  },
)

test('a command that does not listen has no port, even if another command listens', async () => {
  const { process: server } = run(`${LISTEN} 127.0.0.1`)
  const { process: child } = run('echo up; sleep 100')
  await Promise.all([written(server, ' .'), written(child, 'up')])
  expect(listeningPort(child.pid)).toBeUndefined()
  await child.kill()
  expect(listeningPort(child.pid)).toBeUndefined()
})
