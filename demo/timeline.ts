/** Prints what happens to a parent and its background tasks, from OpenCode's own events, while it happens. */
import type { Event } from '@opencode-ai/sdk/v2'
import { styleText } from 'node:util'
import type { EventStream } from '../tests/harness/event-stream.ts'

interface Row {
  readonly description: string
  readonly agent: string
  status: string
}

export interface Timeline {
  /** Resolves with one line of summary when so many tasks have ended and the parent was told of the last. */
  whenEnded(count: number): Promise<string>
}

const ENDS: Readonly<Record<string, 'green' | 'red' | 'yellow'>> = {
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
}

export function printTimeline(events: EventStream, parentID: string, startedAt: number): Timeline {
  const rows = new Map<string, Row>()
  const printed = new Set<string>()

  function print(
    key: string,
    what: string,
    color: 'green' | 'red' | 'yellow' | 'cyan' | 'dim',
    text: string,
  ): void {
    if (printed.has(key)) return
    printed.add(key)
    const time = `${((Date.now() - startedAt) / 1000).toFixed(2)} s`.padStart(8)
    console.log(`${styleText('dim', time)}  ${styleText(color, what.padEnd(9))}  ${text}`)
  }

  function onSession(id: string, metadata: Record<string, unknown> | undefined): void {
    const record = metadata?.['background'] as Row | undefined
    if (!record) return
    const row = rows.get(id) ?? { ...record }
    rows.set(id, row)
    row.status = record.status
    const label = `${row.description} (${row.agent})`
    const color = ENDS[row.status]
    if (color) print(`${id} end`, row.status, color, label)
    else print(`${id} queued`, 'queued', 'dim', label)
  }

  function onEvent(event: Event): void {
    switch (event.type) {
      case 'session.created':
      case 'session.updated':
        onSession(event.properties.info.id, event.properties.info.metadata)
        return
      case 'session.status': {
        const row = rows.get(event.properties.sessionID)
        if (row && event.properties.status.type === 'busy') {
          print(
            `${event.properties.sessionID} started`,
            'started',
            'cyan',
            `${row.description} (${row.agent})`,
          )
        }
        return
      }
      case 'message.part.updated': {
        const { part } = event.properties
        if (part.sessionID !== parentID || part.type !== 'text') return
        const id = /^<background_task id="(bg_\w+)"[^]*?\n(.*)\n/.exec(part.text)
        if (id) print(part.id, 'notice', 'cyan', `→ parent: ${id[2]} (${id[1]})`)
        else if (part.time?.end !== undefined) print(part.id, 'parent', 'green', `“${part.text}”`)
        return
      }
      default:
        return
    }
  }

  for (const event of events.all) onEvent(event)
  const seen = events.all.length
  let index = 0
  void events
    .waitFor(
      (event) => {
        if (index++ >= seen) onEvent(event)
        return false
      },
      { timeoutMs: 120_000 },
    )
    .catch(() => {})

  return {
    async whenEnded(count) {
      const ended = (): Row[] => [...rows.values()].filter(({ status }) => status in ENDS)
      await events.waitFor(() => ended().length === count, {
        timeoutMs: 50_000,
        description: `${count} tasks ended`,
      })
      const tally = Object.keys(ENDS).map(
        (end) => `${ended().filter(({ status }) => status === end).length} ${end}`,
      )
      return `${tally.join(', ')}.`
    },
  }
}
