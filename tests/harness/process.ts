/** Finds the OpenCode binary, starts its process, and makes sure that it ends. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'

export interface ServerProcess {
  readonly pid: number
  readonly url: string
  /** stdout and stderr so far. */
  readonly output: string
  /** Resolves when the process has ended. */
  readonly exited: Promise<void>
  /** Ends the process, after ten seconds with SIGKILL; resolves when it is gone. */
  stop(signal: NodeJS.Signals): Promise<void>
}

const START_LIMIT_MS = 60_000
const PATIENCE_MS = 10_000

/** Starts `opencode serve` and resolves when it listens: an earlier request can leave it hanging (seen). */
export async function spawnServer(
  directory: string,
  env: Record<string, string>,
  as: readonly string[] = [],
  port?: number,
  address = '127.0.0.1',
): Promise<ServerProcess> {
  const words = [...as, opencodeBinary(), 'serve']
  const child = spawn(
    words[0] ?? '',
    [...words.slice(1), '--port', String(port ?? (await freePort())), '--hostname', address],
    {
      cwd: directory,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  if (child.pid === undefined) throw new Error('OpenCode could not be started')
  const { pid } = child
  const guard = spawnGuard(pid)
  void exited.then(() => guard.kill('SIGKILL'))

  let output = ''
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
    await exited
    clearTimeout(timer)
  }
  const url = await new Promise<string>((resolve, reject) => {
    const fail = (why: string): void => reject(new Error(`OpenCode ${why}. Its output:\n${output}`))
    const timer = setTimeout(() => fail(`did not listen within ${START_LIMIT_MS} ms`), START_LIMIT_MS)
    const onData = (bytes: Buffer): void => {
      output += bytes.toString()
      const found = /listening on (http:\/\/\S+)/.exec(output)
      if (found?.[1] === undefined) return
      clearTimeout(timer)
      resolve(found[1])
    }
    child.stdout.on('data', onData)
    child.stderr.on('data', onData)
    child.once('exit', () => {
      clearTimeout(timer)
      fail('ended before it listened')
    })
  }).catch(async (error: unknown) => {
    await stop('SIGKILL')
    throw error
  })

  return {
    pid,
    url,
    exited,
    stop,
    get output() {
      return output
    },
  }
}

/**
 * Starts a shell that kills the server when this process ends in any way: Vitest may kill a worker by a
 * signal, and then no exit handler runs. The shell reads a pipe that only this process holds open.
 */
function spawnGuard(pid: number): ChildProcess {
  const guard = spawn('sh', ['-c', `cat >/dev/null; kill -9 ${pid}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.unref()
  return guard
}

/**
 * Returns a free port. OpenCode replaces port 0 by 4096 if that is free, so that successive servers share an
 * address, and Node's connections to the dead one break the first request to the next (seen).
 */
async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  return port
}

/**
 * Returns the platform's own binary, not the npm wrapper, because a kill must hit the server. `OPENCODE_MODULES` names
 * another `node_modules` directory to load it from, and so another version (`npm run test:hosts`).
 */
export function opencodeBinary(): string {
  const require = createRequire(import.meta.url)
  const modules =
    process.env['OPENCODE_MODULES'] ?? dirname(dirname(require.resolve('opencode-ai/package.json')))
  const names = binaryPackages()
  const binary = names.map((it) => join(modules, it, 'bin', 'opencode')).find((path) => existsSync(path))
  if (binary === undefined) throw new Error(`None of ${names.join(', ')} is installed`)
  return binary
}

/** Returns the packages with OpenCode's binary for this machine, the best one first. */
export function binaryPackages(): readonly [string, string] {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `opencode-${platform}-${process.arch}`
  return hasAvx2() ? [name, `${name}-baseline`] : [`${name}-baseline`, name]
}

/** Whether the CPU has AVX2. Only Linux has a file for it; elsewhere the usual binary is tried first. */
function hasAvx2(): boolean {
  if (process.platform !== 'linux' || process.arch !== 'x64') return true
  return readFileSync('/proc/cpuinfo', 'utf8').includes('avx2')
}
