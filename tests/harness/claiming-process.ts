/**
 * A process that claims jobs and gives signs of life, as a worker does: `claiming-process.ts URL NAME BEAT_MS`. It prints each
 * claim, and each answer to a beat of it, as a line of JSON.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { PROTOCOL, type Claim } from '../../src/fleet/port.ts'
import { openClaims } from '../../src/fleet/postgres/postgres-fleet.ts'

const [url = '', name = '', beatMs = ''] = process.argv.slice(2)
const claims = await openClaims(url)
const worker = {
  name,
  identity: name,
  process: `${name} ${process.pid}`,
  protocol: PROTOCOL,
  labels: [],
  slots: 1,
}
const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`)
let holding: Claim[] = []
for (let number = 1; ; number += 1) {
  try {
    const answer = await claims.claim({ worker, number, holding, wants: 'any' })
    if (answer.type === 'claimed') {
      holding = [answer.claim]
      print({ claimed: answer.claim.offer.id })
    }
    for (const claim of holding) {
      const { type } = await claims.beat(claim, { phase: 'starting', heard: [] })
      print({ beat: type, clock: Date.now() })
      if (type === 'lost') holding = []
    }
  } catch (error) {
    print({ error: (error as Error).message })
  }
  await sleep(Number(beatMs))
}
