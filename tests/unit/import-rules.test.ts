import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** For a file of each folder, an import that its rule refuses, and one that it allows. */
const CASES: Readonly<Record<string, { readonly refused: string; readonly taken: string }>> = {
  'src/config.ts': { refused: './work/queue.ts', taken: './option.ts' },
  'src/timeline.ts': { refused: './parent/outbox.ts', taken: './task/store.ts' },
  'src/manager.ts': { refused: './tools/tool.ts', taken: './launch/launcher.ts' },
  'src/events.ts': { refused: './tools/tool.ts', taken: './rooms.ts' },
  'src/text/planted.ts': { refused: '../task/store.ts', taken: '../task/task.ts' },
  'src/host/planted.ts': { refused: '../task/record.ts', taken: '../text/format.ts' },
  'src/task/planted.ts': { refused: '../parent/outbox.ts', taken: '../host/opencode.ts' },
  'src/task/transition.ts': { refused: './id.ts', taken: '../work/work.ts' },
  'src/launch/planted.ts': { refused: '../tools/tool.ts', taken: '../parent/quiet-gate.ts' },
  'src/work/planted.ts': { refused: '../parent/outbox.ts', taken: '../task/store.ts' },
  'src/work/kinds.ts': { refused: './executor.ts', taken: './command/traits.ts' },
  'src/work/agent/traits.ts': { refused: 'node:fs', taken: '../../text/format.ts' },
  'src/work/command/command-work.ts': { refused: './command-runner.ts', taken: '../../task/state-schema.ts' },
  'src/work/agent/planted.ts': { refused: '../../parent/quiet-gate.ts', taken: '../queue.ts' },
  'src/work/command/planted.ts': { refused: '../../parent/quiet-gate.ts', taken: '../../task/store.ts' },
  'src/work/command/process.ts': { refused: '../../task/store.ts', taken: './files.ts' },
  'src/work/command/required-permissions/planted.ts': {
    refused: '../../../task/store.ts',
    taken: '../this-machine.ts',
  },
  'src/work/command/monitor/planted.ts': { refused: '../../../task/store.ts', taken: '../files.ts' },
  'src/worktree/planted.ts': { refused: '../task/store.ts', taken: '../work/agent/agent-work.ts' },
  'src/machines/planted.ts': { refused: '../work/executor.ts', taken: '../worktree/git.ts' },
  'src/fleet/worker/planted.ts': { refused: '../../parent/outbox.ts', taken: '../../rooms.ts' },
  'src/fleet/launcher/planted.ts': { refused: '../../tools/tool.ts', taken: '../../work/outcome.ts' },
  'src/fleet/postgres/planted.ts': { refused: '../../task/store.ts', taken: '../port.ts' },
  'src/fleet/payload.ts': { refused: '../task/task.ts', taken: './launcher/jobs.ts' },
  'src/fleet/port.ts': { refused: '../tools/tool.ts', taken: './launcher/jobs.ts' },
  'src/parent/planted.ts': { refused: '../work/executor.ts', taken: '../work/kinds.ts' },
  'src/restart/planted.ts': { refused: '../launch/launcher.ts', taken: '../parent/outbox.ts' },
  'src/setup/planted.ts': { refused: '../tools/repeats.ts', taken: '../tools/tool.ts' },
  'src/tools/planted.ts': { refused: '../parent/outbox.ts', taken: '../manager.ts' },
  'src/tools/render/planted.ts': { refused: '../../work/executor.ts', taken: '../../work/command/files.ts' },
  'src/mcp/planted.ts': { refused: '../parent/outbox.ts', taken: '../tools/tool.ts' },
  'src/session-timeline/planted.ts': { refused: '../task/store.ts', taken: '../parent/history.ts' },
  'src/session-timeline/browser/planted.ts': { refused: 'node:fs', taken: '../session-timeline.ts' },
  'src/tui/planted.ts': { refused: '../task/store.ts', taken: '../work/agent/transcript.ts' },
  'src/tui.tsx': { refused: 'node:fs', taken: './tui/rows.ts' },
}

test('each folder refuses an import against the data flow, and allows one along it', () => {
  const place = mkdtempSync(join(tmpdir(), 'import-rules-'))
  try {
    copyFileSync(join(root, '.oxlintrc.json'), join(place, '.oxlintrc.json'))
    const plant = (file: string, specifier: string): void => {
      const path = join(place, file)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, specifier === '' ? 'export {}\n' : `export * from '${specifier}'\n`)
    }
    const refusedIn = (): string[] => problemsOf('no-restricted-imports', place)
    const files = Object.keys(CASES).toSorted()
    for (const [file, { refused }] of Object.entries(CASES)) plant(file, refused)
    expect(refusedIn()).toEqual(files)
    for (const [file, { taken }] of Object.entries(CASES)) plant(file, taken)
    expect(refusedIn()).toEqual([])
  } finally {
    rmSync(place, { recursive: true })
  }
})

test('no file of src imports itself through others, not even for a type', () => {
  expect(problemsOf('no-cycle', root)).toEqual([])
  const place = mkdtempSync(join(tmpdir(), 'import-circle-'))
  try {
    copyFileSync(join(root, '.oxlintrc.json'), join(place, '.oxlintrc.json'))
    mkdirSync(join(place, 'src'))
    const importOf = (file: string): string =>
      `import type { Each } from './${file}.ts'\nexport type { Each }\n`
    writeFileSync(join(place, 'src', 'one.ts'), importOf('other'))
    writeFileSync(join(place, 'src', 'other.ts'), importOf('one'))
    expect(problemsOf('no-cycle', place)).toEqual(['src/one.ts', 'src/other.ts'])
  } finally {
    rmSync(place, { recursive: true })
  }
})

test('each folder of src has a tested import rule', () => {
  const folders = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
  const tried = new Set(Object.keys(CASES).map((file) => dirname(file)))
  expect(folders.filter((folder) => !tried.has(folder))).toEqual([])
})

/** Returns the files of `src` in which oxlint reports a rule. */
function problemsOf(rule: string, cwd: string): string[] {
  const { diagnostics } = JSON.parse(lint(cwd)) as { diagnostics: { code: string; filename: string }[] }
  return diagnostics
    .filter(({ code }) => code.includes(rule))
    .map(({ filename }) => filename)
    .toSorted()
}

function lint(cwd: string): string {
  const oxlint = join(root, 'node_modules', '.bin', 'oxlint')
  try {
    return execFileSync(oxlint, ['--format=json', 'src'], { cwd, encoding: 'utf8' })
  } catch (error) {
    // oxlint exits with 1 when it reports a problem.
    return (error as { stdout: string }).stdout
  }
}
