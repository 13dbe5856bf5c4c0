#!/usr/bin/env node
/** The commands of the package: `opencode-background mcp`, `timeline`, `fleet` and `worker`. */
import { version } from '../package.json'

const [name, ...args] = process.argv.slice(2)

if (name === 'mcp') {
  const { main } = await import('./mcp/mcp.ts')
  main(args, version)
} else if (name === 'timeline') {
  const { main } = await import('./session-timeline/timeline-command.ts')
  await main(args)
} else if (name === 'fleet') {
  const { main } = await import('./fleet/postgres/fleet-command.ts')
  await main(args)
} else if (name === 'worker') {
  const { main } = await import('./fleet/worker/worker-command.ts')
  process.exit(await main(args))
} else {
  process.stderr.write('usage: opencode-background mcp | timeline | fleet | worker [--help]\n')
  process.exitCode = name === '--help' ? 0 : 2
}
