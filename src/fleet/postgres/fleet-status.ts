/** What `opencode-background fleet status` shows. Pure. */

export interface FleetStatus {
  readonly workers: readonly {
    readonly name: string
    readonly protocol: number
    readonly labels: readonly string[]
    readonly slots: number
    readonly inUse: number
    /** Since its last sign of life. */
    readonly silentMs: number
  }[]
  readonly waiting: number
  readonly working: number
  /** Jobs that have ended, and whose launcher has not taken the end yet. */
  readonly untold: number
  /** Those that the role may see: a launcher sees itself. */
  readonly owners: readonly {
    readonly owner: string
    readonly waiting: number
    readonly working: number
    readonly untold: number
  }[]
  readonly limits: readonly {
    readonly scope: 'total' | 'provider' | 'model'
    readonly key: string
    readonly most: number
    readonly inUse: number
  }[]
  readonly backoffs: readonly { readonly provider: string; readonly forMs: number }[]
}

export function renderStatus(status: FleetStatus): string {
  const { workers, waiting, working, untold, owners, limits, backoffs } = status
  const counts = (of: Pick<FleetStatus, 'waiting' | 'working' | 'untold'>): string[] => [
    `${of.waiting} waiting`,
    `${of.working} working`,
    `${of.untold} untold`,
  ]
  const sections = [
    [
      'Workers',
      workers.map(({ name, protocol, labels, slots, inUse, silentMs }) => [
        name,
        `protocol ${protocol}`,
        `${inUse} of ${slots} slots`,
        `last beat ${seconds(silentMs)} ago`,
        labels.join(', '),
      ]),
    ],
    [
      'Queue',
      [['all', ...counts({ waiting, working, untold })], ...owners.map((of) => [of.owner, ...counts(of)])],
    ],
    [
      'Limits',
      limits.map(({ scope, key, most, inUse }) => [`${scope} ${key}`.trim(), `${inUse} of ${most} at work`]),
    ],
    ['Providers that hold back', backoffs.map(({ provider, forMs }) => [provider, `for ${seconds(forMs)}`])],
  ] as const
  return sections.map(([title, rows]) => `${title}\n${table(rows)}`).join('\n')
}

function table(rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '  none\n'
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  return rows.map((row) => `  ${line(row).trimEnd()}\n`).join('')
}

function seconds(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`
}
