/** The project of another plugin's author: ours is installed there from its package, as they would install it. */
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

/**
 * The compilers that authors may have, by what they are: our own, and the one before it, which comes with a tool that we
 * use.
 */
export const COMPILERS = {
  'TypeScript 7': require.resolve('typescript/package.json'),
  'TypeScript 6': createRequire(require.resolve('@microsoft/api-extractor/package.json')).resolve(
    'typescript/package.json',
  ),
}

/** A folder with our package, installed offline, and nothing else. Returns its path. */
export async function authorsFolder(path = mkdtempSync(join(tmpdir(), 'opencode-author-'))): Promise<string> {
  if (!existsSync(join(path, 'package.json'))) writeFileSync(join(path, 'package.json'), '{"type":"module"}')
  const options = ['--offline', '--no-audit', '--no-fund', '--prefix', path]
  await run('npm', ['install', ...options, await tarball()], { cwd: path })
  return path
}

/** Adds the host's package for plugins, as it is installed here. */
export function addHostTypes(folder: string): void {
  const scope = join(folder, 'node_modules', '@opencode-ai')
  mkdirSync(scope, { recursive: true })
  symlinkSync(join(root, 'node_modules', '@opencode-ai', 'plugin'), join(scope, 'plugin'))
}

/** Compiles files of a folder strictly, their declarations included. Resolves with what the compiler says. */
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

/** The examples in a text: each is a whole file. */
export function examplesIn(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8')
  return [...text.matchAll(/```ts\n([^]*?)```/g)].map(([, code = '']) => code)
}
