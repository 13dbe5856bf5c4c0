/**
 * Runs the tests that need a host on several versions of OpenCode: `npm run test:hosts [-- versions...]`. A
 * version is `1.18.33`, or `sdk@1.19.3` for the pinned OpenCode with another SDK. Without versions it starts
 * at the newest in the registry, and stops at the first failing one below the pinned version. Prints a table
 * for docs/compatibility.md; the exit code is 1 when the pinned version fails.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { binaryPackages, opencodeBinary } from '../tests/harness/process.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const pinned = z
  .object({ devDependencies: z.object({ 'opencode-ai': z.string() }) })
  .parse(createRequire(import.meta.url)('../package.json')).devDependencies['opencode-ai']

const SDK = '@opencode-ai/sdk'

/** The tests of the host contract. */
const CONTRACT = 'tests/contract/real.test.ts'

/**
 * The tests of the README's promises: results, ends of each kind, notices, interrupts, restart, `opencode
 * run`, tools, permissions, worktrees, and the installation of the package. The other files test only our own code
 * (limits, order, refusals, cost).
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
  'worktree',
  'worktree-restart',
].map((name) => `tests/e2e/${name}.test.ts`)

/** The fields of Vitest's JSON report that are used. */
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

/**
 * Returns the newest and the first version of each minor, newest first; the pinned one; and the newest SDK
 * when its minor is later than that of the newest OpenCode.
 */
function choose(): string[] {
  const all = versionsOf(binaryPackages()[0])
  const [newestSdk = ''] = versionsOf(SDK)
  const isEdge = (version: string, at: number): boolean =>
    minor(version) !== minor(all[at - 1]) || minor(version) !== minor(all[at + 1])
  const hosts = all.filter((version, at) => version === pinned || isEdge(version, at))
  return minor(newestSdk) === minor(all[0]) ? hosts : [`sdk@${newestSdk}`, ...hosts]
}

/** Returns the released versions of a package in the registry, newest first. */
function versionsOf(name: string): string[] {
  return z
    .array(z.string())
    .parse(JSON.parse(npm('view', name, 'versions', '--json')))
    .filter((version) => /^\d+\.\d+\.\d+$/.test(version))
    .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }))
}

function minor(version = ''): string {
  return version.replace(/\.\d+$/, '')
}

function npm(...args: string[]): string {
  return execFileSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
}

/** Runs the tests on `1.18.33` (a version of OpenCode) or `sdk@1.19.3` (one of the SDK). */
function testOn(subject: string): Seen {
  const place = mkdtempSync(join(tmpdir(), `opencode-${subject}-`))
  try {
    return subject.startsWith('sdk@') ? testOnSdk(subject, place) : testOnHost(subject, place)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

/** Tests the binary of its platform's package, which can be newer than the newest `opencode-ai`. */
function testOnHost(version: string, place: string): Seen {
  const binary = `${binaryPackages()[0]}@${version}`
  npm('install', '--prefix', place, '--no-save', '--no-audit', '--no-fund', binary)
  process.env['OPENCODE_MODULES'] = join(place, 'node_modules')
  const runs = execFileSync(opencodeBinary(), ['--version'], { encoding: 'utf8' }).trim()
  if (runs !== version) throw new Error(`The binary of ${version} says that it is ${runs}`)
  return { version, ...runTests(root) }
}

/** Compiles and tests a clone of the last commit with that SDK. */
function testOnSdk(subject: string, place: string): Seen {
  delete process.env['OPENCODE_MODULES']
  execFileSync('git', ['clone', '--quiet', root, place])
  npm('ci', '--prefix', place)
  npm('install', '--prefix', place, '--no-save', `${SDK}@${subject.slice('sdk@'.length)}`)
  const types = spawnSync('npx', ['tsc', '-p', '.'], { cwd: place, encoding: 'utf8' })
  const failures = types.status === 0 ? [] : [{ title: 'the types', why: types.stdout }]
  const { contract, main } = runTests(place)
  return {
    version: `${pinned}, ${subject}`,
    contract: { ...contract, failures: [...failures, ...contract.failures] },
    main,
  }
}

function runTests(cwd: string): Pick<Seen, 'contract' | 'main'> {
  const report = join(mkdtempSync(join(tmpdir(), 'report-')), 'report.json')
  const args = ['vitest', 'run', CONTRACT, ...MAIN, '--reporter=json', `--outputFile=${report}`]
  spawnSync('npx', args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
  const files = reportSchema.parse(JSON.parse(readFileSync(report, 'utf8'))).testResults
  rmSync(dirname(report), { recursive: true })
  const isContract = ({ name }: { readonly name: string }): boolean => name.endsWith(CONTRACT)
  return {
    contract: count(files.filter(isContract)),
    main: count(files.filter((file) => !isContract(file))),
  }
}

function count(files: z.infer<typeof reportSchema>['testResults']): Part {
  const tests = files.flatMap((file) => file.assertionResults)
  const passed = tests.filter((test) => test.status === 'passed').length
  const failures = tests
    .filter((test) => test.status !== 'passed')
    .map((test) => ({ title: test.title, why: test.failureMessages[0] ?? test.status }))
  // A file that cannot be loaded, or whose hooks fail, has no failed test.
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
