import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { build } from '../../scripts/build.ts'
import { buildPlugin } from '../harness/plugin.ts'
import { heldReply } from '../harness/replies.ts'
import { startStage, type Stage } from '../harness/stage.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
let example: string
let stage: Stage

beforeAll(async () => {
  example = join(await author(), 'look-up.ts')
  stage = await startStage({ plugins: [await buildPlugin(), example] })
})
afterAll(() => stage.close())

/** The project of another plugin's author: ours is installed there, and the README's example is the plugin. */
async function author(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'opencode-author-'))
  const installed = join(directory, 'node_modules', 'opencode-background')
  mkdirSync(join(directory, 'node_modules', '@opencode-ai'), { recursive: true })
  mkdirSync(installed)
  await build(join(installed, 'dist'))
  copyFileSync(join(root, 'package.json'), join(installed, 'package.json'))
  symlinkSync(
    join(root, 'node_modules', '@opencode-ai', 'plugin'),
    join(directory, 'node_modules', '@opencode-ai', 'plugin'),
  )
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const code = /```ts\n(import[\s\S]*?)```/.exec(readme.slice(readme.indexOf('## The library')))?.[1]
  writeFileSync(join(directory, 'look-up.ts'), code ?? '')
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  return directory
}

test("the README's example works beside the plugin, and neither touches the other's tasks", async () => {
  const { reply, release } = heldReply()
  const parent = await stage.parent(({ messages }) =>
    messages.at(-1)?.content === 'ours' ? reply : { text: 'found by the other plugin' },
  )
  const [ours] = await parent.launch('ours')
  await parent.quietBesidesChildren()
  const [answer] = await parent.call([{ name: 'look_up', args: { question: 'where is it?' } }])
  expect(answer).toContain('found by the other plugin')
  const [list, cancelled] = await parent.call([
    { name: 'list_background', args: {} },
    { name: 'background_cancel', args: { all: true } },
  ])
  expect(list).toContain('(1 total)')
  expect(list).toContain(ours)
  expect(cancelled).toContain(`${ours} (ours) was cancelled`)
  release({ text: 'too late' })
  await parent.quiet()
  // What the example waited for is told to nobody again, and what was cancelled is not told either.
  expect(parent.noticeTurns).toHaveLength(0)
  expect(parent.childRequests).toHaveLength(2)
})

test("the README's example is well typed for an author who has OpenCode's plugin types", async () => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node']
  const { stdout } = await run(
    process.execPath,
    [tsc, ...options, '--skipLibCheck', '--typeRoots', join(root, 'node_modules', '@types'), example],
    { cwd: dirname(example) },
  ).catch((error: { stdout: string }) => error)
  expect(stdout).toBe('')
})
