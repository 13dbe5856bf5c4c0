/**
 * Builds the declaration files of the package. Each stands alone, because authors of other plugins have none
 * of our dependencies, or other versions of them, and the host's types belong to one version of OpenCode.
 */
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor'
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { optionsDeclaration } from './options.ts'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('..', import.meta.url))

/** Builds them all. Throws when one needs another package, or the library's uses a type that it does not export. */
export function declare(outdir: string): void {
  const modules = mkdtempSync(join(tmpdir(), 'opencode-types-'))
  try {
    const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
    const config = join(root, 'scripts', 'tsconfig.build.json')
    execFileSync(process.execPath, [tsc, '-p', config, '--outDir', modules], { stdio: 'inherit' })
    // Replace the inferred declaration, which needs zod.
    writeFileSync(join(modules, 'config.d.ts'), optionsDeclaration())
    mkdirSync(outdir, { recursive: true })
    // The host's entries export one object, declared in one line.
    for (const name of ['server.d.ts', 'tui.d.ts']) copyFileSync(join(modules, name), join(outdir, name))
    rollUp(modules, 'library.d.ts', join(outdir, 'manager.d.ts'))
    for (const name of readdirSync(outdir)) {
      const file = join(outdir, name)
      const needs = /^import .*|\bimport\(.*?\)/m.exec(readFileSync(file, 'utf8'))
      if (needs) throw new Error(`${file} does not stand alone: ${needs[0]}`)
    }
  } finally {
    rmSync(modules, { recursive: true })
  }
}

/** Writes an entry's exported declarations into one file. */
function rollUp(modules: string, entry: string, file: string): void {
  const mainEntryPointFilePath = join(modules, entry)
  const compilerOptions = {
    target: 'es2023',
    module: 'esnext',
    moduleResolution: 'bundler',
    typeRoots: [join(root, 'node_modules', '@types')],
    types: ['node'],
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    noEmit: true,
  }
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: modules,
      mainEntryPointFilePath,
      compiler: { overrideTsconfig: { compilerOptions, include: [mainEntryPointFilePath] } },
      dtsRollup: { enabled: true, untrimmedFilePath: file },
      messages: {
        compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.None },
          'ae-forgotten-export': { logLevel: ExtractorLogLevel.Error },
        },
        tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      },
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: join(root, 'package.json'),
  })
  const problems: string[] = []
  const { succeeded } = Extractor.invoke(config, {
    localBuild: true,
    messageCallback(message) {
      if (message.logLevel === ExtractorLogLevel.Error) problems.push(message.text)
      message.handled = true
    },
  })
  if (!succeeded || problems.length > 0) throw new Error(`${entry}: ${problems.join('\n')}`)
}
