/**
 * Runs the tests that need a host on several versions of OpenCode: `npm run test:hosts [-- versions...]`. Without
 * versions it goes from the newest in the registry downwards, and stops at the first that is older than the pinned
 * one and fails. It prints a table for the README; the exit code is 1 where the pinned version fails.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { opencodeBinary } from '../tests/harness/process.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const pinned = z
  .object({ devDependencies: z.object({ 'opencode-ai': z.string() }) })
  .parse(createRequire(import.meta.url)('../package.json')).devDependencies['opencode-ai']

/** What we rely on at the host. */
const CONTRACT = 'tests/contract/real.test.ts'

/**
 * A promise of the README each: the way of a result, an end of each kind, a notice, what the parent's person did, a
 * restart, `opencode run`, the tools, permissions, and that the package installs and loads. The other files show what
 * is ours alone (limits, order, refusals, cost).
 */
const MAIN = [
  'thread',
  'failure',
  'notice',
  'interrupt',
  'restart',
  'run',
  'continue',
  'output',
  'cancel',
  'permission',
  'package',
].map((name) => `tests/e2e/${name}.test.ts`)

/** What is used of Vitest's JSON report. */
const reportSchema = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      message: z.string(),
      assertionResults: z.array(
        z.object({ title: z.string(), status: z.string(), failureMessages: z.array(z.string()) }),
      ),
    }),
  ),
})

interface Failure {
  readonly title: string
  readonly why: string
}

interface Part {
  readonly passed: number
  readonly total: number
  readonly failures: readonly Failure[]
}

interface Seen {
  readonly version: string
  readonly contract: Part
  readonly main: Part
}

/** The newest and the first version of each minor, newest first; and the pinned one. */
function choose(): string[] {
  const all = z
    .array(z.string())
    .parse(JSON.parse(npm('view', 'opencode-ai', 'versions', '--json')))
    .filter((version) => /^\d+\.\d+\.\d+$/.test(version))
    .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  const minor = (version = ''): string => version.replace(/\.\d+$/, '')
  const isEdge = (version: string, at: number): boolean =>
    minor(version) !== minor(all[at - 1]) || minor(version) !== minor(all[at + 1])
  return all.filter((version, at) => version === pinned || isEdge(version, at))
}

function npm(...args: string[]): string {
  return execFileSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
}

/** Installs the version into a directory of its own, and runs the tests on it. */
function testOn(version: string): Seen {
  const place = mkdtempSync(join(tmpdir(), `opencode-${version}-`))
  try {
    npm('install', '--prefix', place, '--no-save', '--no-audit', '--no-fund', `opencode-ai@${version}`)
    process.env['OPENCODE_MODULES'] = join(place, 'node_modules')
    const runs = execFileSync(opencodeBinary(), ['--version'], { encoding: 'utf8' }).trim()
    if (runs !== version) throw new Error(`The binary of ${version} says that it is ${runs}`)

    const report = join(place, 'report.json')
    const args = ['vitest', 'run', CONTRACT, ...MAIN, '--reporter=json', `--outputFile=${report}`]
    spawnSync('npx', args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
    const files = reportSchema.parse(JSON.parse(readFileSync(report, 'utf8'))).testResults
    const isContract = ({ name }: { readonly name: string }): boolean => name.endsWith(CONTRACT)
    return {
      version,
      contract: count(files.filter(isContract)),
      main: count(files.filter((file) => !isContract(file))),
    }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

function count(files: z.infer<typeof reportSchema>['testResults']): Part {
  const tests = files.flatMap((file) => file.assertionResults)
  const passed = tests.filter((test) => test.status === 'passed').length
  const failures = tests
    .filter((test) => test.status !== 'passed')
    .map((test) => ({ title: test.title, why: test.failureMessages[0] ?? test.status }))
  // A file that could not be read, or whose hooks failed, has no test that says so.
  const broken = files
    .filter((file) => file.message !== '')
    .map((file) => ({ title: basename(file.name), why: file.message }))
  return { passed, total: tests.length, failures: [...broken, ...failures] }
}

const failuresOf = ({ contract, main }: Seen): readonly Failure[] => [...contract.failures, ...main.failures]

function row(seen: Seen): string {
  const [first, ...others] = failuresOf(seen).map(({ title }) => title)
  const failed = others.length === 0 ? (first ?? '') : `${first}, and ${others.length} more`
  const { version, contract, main } = seen
  return `| ${version} | ${contract.passed} of ${contract.total} | ${main.passed} of ${main.total} | ${failed} |`
}

const given = process.argv.slice(2)
const table = ['| OpenCode | contract | main tests | failed |', '| --- | --- | --- | --- |']
let isPinnedReached = false
for (const version of given.length > 0 ? given : choose()) {
  console.error(`OpenCode ${version} …`)
  const seen = testOn(version)
  const failures = failuresOf(seen)
  for (const { title, why } of failures)
    console.error(`✗ ${title}\n  ${why.split('\n').slice(0, 4).join('\n  ')}`)
  table.push(row(seen))
  console.error(table.at(-1))
  isPinnedReached ||= version === pinned
  if (failures.length > 0 && version === pinned) process.exitCode = 1
  if (failures.length > 0 && given.length === 0 && isPinnedReached && version !== pinned) break
}
console.log(table.join('\n'))
