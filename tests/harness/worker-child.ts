/** A worker as a process of its own, whose queue is that of `fleet-server.ts`: `worker-child.ts URL-OF-QUEUE ARGUMENTS…`. */
import { main } from '../../src/fleet/worker/worker-command.ts'
import { fleetAt } from './fleet-server.ts'

const [, , url = '', ...args] = process.argv
process.exit(await main(['--db', 'NONE', ...args], () => Promise.resolve(fleetAt(url))))
