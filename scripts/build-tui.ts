/**
 * Bundles the part for the terminal UI. The host compiles no JSX of an installed package, and provides Solid
 * and OpenTUI itself, because there must be one of each (TUI notes, section 2).
 */
import { transformAsync } from '@babel/core'
import { build as bundle, transform, type Plugin } from 'esbuild'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)

/** Compiles JSX for Solid, which evaluates each expression again when its inputs have changed. */
const solidJsx: Plugin = {
  name: 'solid-jsx',
  setup(build) {
    build.onLoad({ filter: /\.tsx$/ }, async ({ path }) => {
      const untyped = await transform(readFileSync(path, 'utf8'), {
        loader: 'tsx',
        jsx: 'preserve',
        tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
      })
      const preset = require.resolve('babel-preset-solid')
      const compiled = await transformAsync(untyped.code, {
        filename: path,
        configFile: false,
        babelrc: false,
        presets: [[preset, { generate: 'universal', moduleName: '@opentui/solid' }]],
      })
      return { contents: compiled?.code ?? '', loader: 'js' }
    })
  },
}

export async function bundleTui(outdir: string): Promise<void> {
  await bundle({
    entryPoints: [{ in: fileURLToPath(new URL('../src/tui.tsx', import.meta.url)), out: 'tui' }],
    outdir,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
    external: ['@opentui/*', 'solid-js', 'solid-js/*'],
    plugins: [solidJsx],
  })
}
