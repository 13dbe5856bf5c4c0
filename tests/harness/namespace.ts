/** Network namespaces with one address each, as hosts of their own, whose packets can be dropped. */
import { execFileSync, spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Which packets are dropped: those that come, those that go, or all. */
export type Direction = 'in' | 'out' | 'both'

export interface Network {
  /** The address of this machine to the namespace. Namespaces reach each other's. */
  readonly host: string
  readonly address: string
  /** The words of a command that run another one in the namespace. */
  readonly within: readonly string[]
  /**
   * Drops packets to or from other hosts, without an answer, until `heal`; those of the namespace to itself pass.
   *
   * @param port of the other host; default: all
   */
  drop(direction?: Direction, port?: number): void
  heal(): void
  /** Its processes must have ended. */
  close(): void
}

export interface Namespace extends Omit<Network, 'close'> {
  /** The URL of the server, as it is reached through the namespace. */
  readonly url: string
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

let networks = 0

/** Throws one sentence where no namespaces can be made. */
export function startNetwork(): Network {
  const [block, subnet] = [process.pid % 250, (networks % 63) * 4]
  const [name, link] = [`obg-${process.pid}-${networks}`, `obg${block}-${networks}`]
  networks += 1
  const [host, address] = [`10.77.${block}.${subnet + 1}`, `10.77.${block}.${subnet + 2}`]
  const ip = (...args: readonly string[]): unknown => execFileSync('ip', args)
  const within = ['ip', 'netns', 'exec', name]
  const nft = (...args: readonly string[]): unknown =>
    execFileSync('ip', ['netns', 'exec', name, 'nft', ...args])
  try {
    ip('netns', 'add', name)
  } catch (error) {
    throw new Error('These tests need root, iproute2 and nftables for network namespaces', { cause: error })
  }
  ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
  ip('addr', 'add', `${host}/30`, 'dev', link)
  ip('link', 'set', link, 'up')
  ip('-n', name, 'addr', 'add', `${address}/30`, 'dev', 'eth0')
  for (const device of ['lo', 'eth0']) ip('-n', name, 'link', 'set', device, 'up')
  ip('-n', name, 'route', 'add', 'default', 'via', host)
  const cut = (chain: 'input' | 'output', ...which: readonly string[]): void => {
    nft('add', 'chain', 'inet', 'cut', chain, `{ type filter hook ${chain} priority 0; }`)
    nft('add', 'rule', 'inet', 'cut', chain, ...which, 'drop')
  }
  return {
    host,
    address,
    within,
    drop(direction = 'both', port) {
      const ofPort = (end: 'sport' | 'dport'): string[] => (port === undefined ? [] : ['tcp', end, `${port}`])
      nft('add', 'table', 'inet', 'cut')
      if (direction !== 'out') cut('input', 'iifname', 'eth0', ...ofPort('sport'))
      if (direction !== 'in') cut('output', 'oifname', 'eth0', ...ofPort('dport'))
    },
    heal() {
      // One that is not there cannot be deleted.
      for (const verb of ['add', 'delete']) nft(verb, 'table', 'inet', 'cut')
    },
    close: () => void ip('netns', 'delete', name),
  }
}

/** Starts a namespace behind which a server of this machine is reached. */
export async function startNamespace(target: string): Promise<Namespace> {
  const network = startNetwork()
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
  const [command, ...rest] = [...network.within, process.execPath, '-e', FORWARD, socket]
  const forwarder = spawn(command ?? '', rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => forwarder.stdout.once('data', resolve))
  // With the credentials and the path of the target.
  const url = new URL(target)
  url.hostname = network.address
  url.port = `${PORT}`
  return {
    ...network,
    url: url.href.replace(/\/$/, ''),
    async close() {
      forwarder.kill('SIGKILL')
      await new Promise((resolve) => gate.close(resolve))
      network.close()
      rmSync(directory, { recursive: true })
    },
  }
}
