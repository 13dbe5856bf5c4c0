import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import plugin from '../../src/server.ts'

test('setup rejects with the OpenCode versions that the plugin supports', async () => {
  const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    engines: { opencode: string }
  }
  const oldest = engines.opencode.replace('>=', '')
  await expect(plugin.setup()).rejects.toThrow(`supports OpenCode 1, from ${oldest} on`)
})
