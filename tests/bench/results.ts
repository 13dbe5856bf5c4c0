/** Writes the figures of a benchmark as JSON and Markdown into `docs/bench`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

type Cell = string | number

export interface Table {
  readonly title: string
  /** The first column names the subject of the figures. */
  readonly rows: readonly Readonly<Record<string, Cell>>[]
}

export interface Results {
  readonly title: string
  readonly tables: readonly Table[]
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const loadBefore = loadavg()

/** Writes `docs/bench/<name>.json` and `.md`, and returns the text of the latter. */
export function writeResults(name: string, { title, tables }: Results): string {
  const outdir = join(root, 'docs', 'bench')
  const [before, after] = [loadBefore, loadavg()].map((load) => load[0]?.toFixed(1))
  const machine = {
    at: new Date().toISOString(),
    command: ['npm run', process.env['npm_lifecycle_event'] ?? name, '--', ...process.argv.slice(2)].join(
      ' ',
    ),
    platform: `${process.platform} ${process.arch}, ${availableParallelism()} cores, Node ${process.version}`,
    opencode: versionOf('opencode-ai'),
    load: `${before} before, ${after} after`,
  }
  const facts = Object.entries(machine).map(([what, value]) => `- ${what}: ${value}`)
  const markdown = [`# ${title}`, facts.join('\n'), ...tables.map(markdownOf)].join('\n\n')
  mkdirSync(outdir, { recursive: true })
  writeFileSync(
    join(outdir, `${name}.json`),
    `${JSON.stringify({ title, ...machine, tables }, undefined, 2)}\n`,
  )
  writeFileSync(join(outdir, `${name}.md`), `${markdown}\n`)
  return markdown
}

function markdownOf({ title, rows }: Table): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const cells = rows.map((row) => columns.map((column) => String(row[column] ?? '')))
  const widths = columns.map((column, index) =>
    Math.max(column.length, 3, ...cells.map((row) => row[index]?.length ?? 0)),
  )
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`
  const table = [line(columns), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n')
  return title === '' ? table : `## ${title}\n\n${table}`
}

function versionOf(name: string): string {
  const manifest = readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
