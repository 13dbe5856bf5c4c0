/** An npm registry with one package, whose versions a test publishes. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

export interface Registry {
  readonly url: string
  /** Publishes a version; npm resolves the bare name to the newest. */
  publish(tarball: string): void
  close(): Promise<void>
}

interface Manifest {
  readonly name: string
  version: string
}

export async function startRegistry(): Promise<Registry> {
  const published = new Map<string, { readonly manifest: Manifest; readonly bytes: Buffer }>()
  const server = createServer((request, response) => {
    const [, file] = /\/-\/(.*)$/.exec(request.url ?? '') ?? []
    const [latest] = [...published.values()].toReversed()
    if (!latest || !request.url?.startsWith(`/${latest.manifest.name}`)) {
      response.writeHead(404).end('{}')
      return
    }
    if (file !== undefined) {
      response.end(published.get(file)?.bytes)
      return
    }
    const versions = [...published].map(([name, { manifest, bytes }]) => {
      const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
      const dist = { tarball: `${url}/${manifest.name}/-/${name}`, integrity }
      return [manifest.version, { ...manifest, dist }] as const
    })
    const { name, version } = latest.manifest
    const answer = { name, 'dist-tags': { latest: version }, versions: Object.fromEntries(versions) }
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    publish(tarball) {
      const manifest = JSON.parse(read(tarball, 'package/package.json')) as Manifest
      published.set(`${manifest.name}-${manifest.version}.tgz`, { manifest, bytes: readFileSync(tarball) })
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Repacks a package as another version, with one text of its server bundle replaced. */
export function repacked(tarball: string, version: string, [from, to]: readonly [string, string]): string {
  const place = mkdtempSync(`${tarball}-`)
  execFileSync('tar', ['-xzf', tarball, '-C', place])
  const change = (file: string, edit: (text: string) => string): void => {
    const path = join(place, 'package', file)
    writeFileSync(path, edit(readFileSync(path, 'utf8')))
  }
  change('package.json', (text) => JSON.stringify({ ...(JSON.parse(text) as Manifest), version }))
  change('dist/server.js', (text) => {
    if (!text.includes(from)) throw new Error(`The bundle has no text "${from}"`)
    return text.replace(from, to)
  })
  const packed = join(place, `opencode-background-${version}.tgz`)
  execFileSync('tar', ['-czf', packed, '-C', place, 'package'])
  return packed
}

function read(tarball: string, file: string): string {
  return execFileSync('tar', ['-xzOf', tarball, file], { encoding: 'utf8' })
}
