/** A network namespace with one address, behind which a server of this machine is reached, and whose packets can be dropped. */
import { execFileSync, spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Namespace {
  readonly address: string
  /** The URL of the server, as it is reached through the namespace. */
  readonly url: string
  /** Drops what comes to the namespace, without an answer, until `heal`. */
  drop(): void
  heal(): void
  close(): Promise<void>
}

const PORT = 4100
/** Forwards each connection to a socket of the file system, which namespaces share. */
const FORWARD = `
const { connect, createServer } = require('node:net')
createServer((client) => {
  const server = connect(process.argv[1])
  for (const socket of [client, server]) socket.on('error', () => { client.destroy(); server.destroy() })
  client.pipe(server).pipe(client)
}).listen(${PORT}, () => console.log('listening'))`

/** Throws one sentence where no namespaces can be made. */
export async function startNamespace(target: string): Promise<Namespace> {
  const number = process.pid % 250
  const name = `obg-${process.pid}`
  const [host, address] = [`10.77.${number}.1`, `10.77.${number}.2`]
  const ip = (...args: readonly string[]): unknown => execFileSync('ip', args)
  const nft = (...args: readonly string[]): unknown =>
    execFileSync('ip', ['netns', 'exec', name, 'nft', ...args])
  try {
    ip('netns', 'add', name)
  } catch (error) {
    throw new Error('These tests need root, iproute2 and nftables for network namespaces', { cause: error })
  }
  ip('link', 'add', `obg${number}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
  ip('addr', 'add', `${host}/30`, 'dev', `obg${number}`)
  ip('link', 'set', `obg${number}`, 'up')
  ip('-n', name, 'addr', 'add', `${address}/30`, 'dev', 'eth0')
  ip('-n', name, 'link', 'set', 'eth0', 'up')
  const directory = mkdtempSync(join(tmpdir(), 'opencode-namespace-'))
  const socket = join(directory, 'server')
  const { hostname, port } = new URL(target)
  const gate = createServer((client) => {
    const server = connect(Number(port), hostname)
    for (const each of [client, server])
      each.on('error', () => {
        client.destroy()
        server.destroy()
      })
    client.pipe(server).pipe(client)
  })
  await new Promise<void>((resolve) => gate.listen(socket, resolve))
  const forwarder = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', FORWARD, socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => forwarder.stdout.once('data', resolve))
  return {
    address,
    url: `http://${address}:${PORT}`,
    drop() {
      nft('add', 'table', 'inet', 'cut')
      nft('add', 'chain', 'inet', 'cut', 'input', '{ type filter hook input priority 0; policy drop; }')
    },
    heal: () => void nft('delete', 'table', 'inet', 'cut'),
    async close() {
      forwarder.kill('SIGKILL')
      await new Promise((resolve) => gate.close(resolve))
      ip('netns', 'delete', name)
      rmSync(directory, { recursive: true })
    },
  }
}
