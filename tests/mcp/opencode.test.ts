import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { commandPath, createPlace } from '../harness/mcp.ts'
import { startStage } from '../harness/stage.ts'

test('OpenCode itself runs, reads, lists and kills commands over MCP', async () => {
  const place = createPlace()
  const bg = {
    type: 'local',
    command: [process.execPath, await commandPath(), 'mcp'],
    environment: { XDG_STATE_HOME: place.state },
  }
  const stage = await startStage({ plugins: [], config: { mcp: { bg } } })
  try {
    const parent = await stage.parent()
    const call = async (name: string, args: Record<string, unknown>): Promise<string> => {
      const [result = ''] = await parent.call([{ name: `bg_${name}`, args }])
      return result
    }
    const command = 'while [ ! -e go ]; do sleep 0.05; done; echo out; exit 3'
    const started = await call('run_background', { command, label: 'waits' })
    expect(started).toContain('🚀 **Background Task Started** (waits)')
    const [task_id = ''] = /bg_[0-9a-f]{8}/.exec(started) ?? []
    expect(await call('list_background', {})).toContain(`| \`${task_id}\` | ⏳ running |`)
    mkdirSync(join(stage.server.directory, 'go'))
    const ended = await call('check_background', { task_id, wait: true })
    expect(ended).toContain('| **Exit Code** | 3 |')
    expect(ended).toContain('out')
    const server = await call('run_background', { command: 'sleep 600', timeout: 0 })
    const [serverID = ''] = /bg_[0-9a-f]{8}/.exec(server) ?? []
    expect(await call('kill_background', { task_id: serverID })).toContain('has been killed')
    expect(await call('run_background', { command: 'true', cwd: '/etc' })).toContain('is outside of')
  } finally {
    await stage.close()
    place.remove()
  }
})
