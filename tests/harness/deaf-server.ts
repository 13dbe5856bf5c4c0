/** Takes the connections of a server that starts, and never answers them, as OpenCode does (contract 16.6). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Network } from './namespace.ts'

/** Once it has so many connections, it leaves its port to the next server. */
const SCRIPT = `
const [, port, address, most] = process.argv
const taken = []
const server = require('node:net').createServer((socket) => {
  socket.on('error', () => {})
  if (taken.push(socket) < Number(most)) return
  server.close()
  console.log('taken')
})
server.listen(Number(port), address)`

/**
 * Resolves once it holds `most` connections, with a function that ends it.
 *
 * @param url of the dead server, whose address it takes
 */
export async function takeConnections(network: Network, url: string, most: number): Promise<() => void> {
  const { hostname, port } = new URL(url)
  const words = [...network.within, process.execPath, '-e', SCRIPT, port, hostname, `${most}`]
  const child = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(createInterface(child.stdout), 'line')
  return () => void child.kill('SIGKILL')
}
