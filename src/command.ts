#!/usr/bin/env node
/** The command of the package: `opencode-background mcp`. */
import { version } from '../package.json'

const [name, ...args] = process.argv.slice(2)

if (name === 'mcp') {
  const { main } = await import('./mcp/mcp.ts')
  main(args, version)
} else {
  process.stderr.write('usage: opencode-background mcp [--help]\n')
  process.exitCode = name === '--help' ? 0 : 2
}
