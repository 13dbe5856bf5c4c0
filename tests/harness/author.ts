/** Sets up the project of another plugin's author, with our plugin installed from its package. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tarball } from './packed.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const require = createRequire(import.meta.url)

/** The compilers that authors may have, by name: ours, and its predecessor, which a tool of ours depends on. */
export const COMPILERS = {
  'TypeScript 7': require.resolve('typescript/package.json'),
  'TypeScript 6': createRequire(require.resolve('@microsoft/api-extractor/package.json')).resolve(
    'typescript/package.json',
  ),
}

/** Installs our package offline into a folder without anything else, and returns its path. */
export async function authorsFolder(path = mkdtempSync(join(tmpdir(), 'opencode-author-'))): Promise<string> {
  if (!existsSync(join(path, 'package.json'))) writeFileSync(join(path, 'package.json'), '{"type":"module"}')
  const options = ['--offline', '--no-audit', '--no-fund', '--prefix', path]
  await run('npm', ['install', ...options, await tarball()], { cwd: path })
  return path
}

/** Links the host's packages that are installed here. */
export function addHostTypes(folder: string): void {
  const scope = join(folder, 'node_modules', '@opencode-ai')
  mkdirSync(scope, { recursive: true })
  for (const name of ['plugin', 'sdk'])
    symlinkSync(join(root, 'node_modules', '@opencode-ai', name), join(scope, name))
}

/** Compiles files of a folder strictly, with their declarations. Resolves with the compiler's output. */
export async function compile(
  folder: string,
  files: readonly string[],
  options: readonly string[],
  compiler: keyof typeof COMPILERS = 'TypeScript 7',
): Promise<string> {
  const tsc = join(dirname(COMPILERS[compiler]), 'bin', 'tsc')
  const strict = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2023']
  const roots = ['--typeRoots', join(root, 'node_modules', '@types')]
  const { stdout } = await run(process.execPath, [tsc, ...strict, ...roots, ...options, ...files], {
    cwd: folder,
  }).catch((error: { stdout: string }) => error)
  return stdout
}

/** Returns the examples in a text, each a whole file. */
export function examplesIn(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8')
  return [...text.matchAll(/```ts\n([^]*?)```/g)].map(([, code = '']) => code)
}
