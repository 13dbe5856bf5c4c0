/** A TCP proxy before a server, which a test can cut: what a client outside of OpenCode sees of a bad network. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface Proxy {
  readonly url: string
  /** How many connections were made to the server so far. */
  readonly connections: number
  /** How many connections were refused so far. */
  readonly refusals: number
  /** Breaks all connections, and refuses new ones until `restore`. */
  cut(): void
  /** Breaks all connections; new ones succeed. */
  breakConnections(): void
  /** Forwards new connections to the server at `url`, also to one at another address than before. */
  restore(url: string): void
  close(): Promise<void>
}

/** @param url the server; without one, connections are refused until `restore` */
export async function startProxy(url?: string): Promise<Proxy> {
  let target = url
  let connections = 0
  let refusals = 0
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    // The other side resets the connection.
    socket.on('error', () => socket.destroy())
  }
  const server = createServer((client) => {
    if (target === undefined) {
      refusals += 1
      client.destroy()
      return
    }
    connections += 1
    const { hostname, port } = new URL(target)
    const upstream = connect(Number(port), hostname)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      keep(socket)
      socket.on('close', () => other.destroy())
      socket.pipe(other)
    }
  })
  const breakConnections = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections
    },
    get refusals() {
      return refusals
    },
    cut() {
      target = undefined
      breakConnections()
    },
    breakConnections,
    restore(to) {
      target = to
    },
    async close() {
      target = undefined
      breakConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
