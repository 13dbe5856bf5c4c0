/** The processes of shell commands inside OpenCode, which runs in Bun, whose processes differ from Node's. */
import { build } from 'esbuild'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { groupOf } from '../command/commands.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { probePlugin } from '../harness/plugin.ts'
import { startOpencode, type OpencodeServer } from '../harness/server.ts'

let model: ScriptedModel
let opencode: OpencodeServer
let place: string
const probe = probePlugin()

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 'opencode-command-'))
  const source = (path: string): string => fileURLToPath(new URL(`../../src/${path}`, import.meta.url))
  await build({
    entryPoints: {
      process: source('work/command/process.ts'),
      'process-start': source('work/command/process-start.ts'),
      'output-match': source('work/command/output-match.ts'),
      clock: source('clock.ts'),
    },
    outdir: place,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
  })
  model = await startModel()
  opencode = await startOpencode({ model, plugins: [probe.spec] })
})

afterAll(async () => {
  await opencode.stop()
  await model.close()
})

/** Runs JavaScript inside OpenCode, with `run(command, changes)` for a command `name` in scope. */
function inside(name: string, code: string): Promise<unknown> {
  return probe.run(`
    const { attach } = await import(${JSON.stringify(join(place, 'process.mjs'))})
    const { start } = await import(${JSON.stringify(join(place, 'process-start.mjs'))})
    const { OutputMatcher } = await import(${JSON.stringify(join(place, 'output-match.mjs'))})
    const { systemClock: clock } = await import(${JSON.stringify(join(place, 'clock.mjs'))})
    const { readdirSync, readlinkSync } = await import('node:fs')
    const directory = ${JSON.stringify(place)} + '/' + ${JSON.stringify(name)}
    const belonging = { owner: {}, timeoutMs: 0 }
    const settings = { clock, killGraceMs: 300, belonging }
    const run = (command, changes) => start({ ...settings, command, shell: '/bin/sh', cwd: '/', env: process.env, directory, ...changes })
    const written = (child, text) => new Promise((resolve) => child.watch(new OutputMatcher(directory, [text], resolve)))
    ${code}`)
}

test('a command in OpenCode has its exit code, two streams, and only the environment of OpenCode', async () => {
  const seen = await inside(
    'plain',
    `const child = run("echo err >&2; for fd in 0 1 2 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$fd; done; grep -E 'Sig(Ign|Blk)' /proc/self/status; exit 3")
     const end = await child.ended
     return [process.versions.bun !== undefined, end, child.tail('stdout', { bytes: 1000 }).text, child.tail('stderr', { bytes: 1000 }).text]`,
  )
  const directory = join(place, 'plain')
  const open = ['/dev/null', `${directory}/stdout`, `${directory}/stderr`]
  const status = ['SigBlk:\t0000000000000000', 'SigIgn:\t0000000000000000', '']
  expect(seen).toEqual([true, { type: 'exited', code: 3 }, [...open, ...status].join('\n'), 'err\n'])
})

test('a command inside OpenCode ends by a signal, and a kill ends all its processes', async () => {
  expect(await inside('signal', `return await run('kill -9 $$').ended`)).toEqual({
    type: 'killed',
    signal: 'SIGKILL',
  })
  const seen = await inside(
    'tree',
    `const child = run('(trap "" TERM; echo up; sleep 100) & sleep 100', { killGraceMs: 3000 })
     await written(child, 'up')
     await child.kill()
     return [child.pid, await child.ended]`,
  )
  expect(seen).toEqual([expect.any(Number), { type: 'killed', signal: 'SIGTERM' }])
  expect(groupOf((seen as [number])[0])).toEqual([])
  expect(
    await inside('now', `const child = run('sleep 100'); child.killNow(); return await child.ended`),
  ).toEqual({ type: 'killed', signal: 'SIGKILL' })
})

test('a command that cannot start inside OpenCode reports why', async () => {
  await expect(inside('cwd', `run('true', { cwd: '/nowhere' })`)).rejects.toThrow(
    'no such directory: /nowhere',
  )
  await expect(inside('shell', `run('true', { shell: '/bin/nosh' })`)).rejects.toThrow('/bin/nosh')
  await expect(inside('long', `run('#'.repeat(3_000_000))`)).rejects.toThrow(/E2BIG|could not be started/)
  expect(existsSync(join(place, 'long'))).toBe(false)
})

test('fifty commands at once inside OpenCode leave no descriptor behind', async () => {
  const seen = await inside(
    'many',
    `// Sockets are the connections that the host keeps for its own calls.
     const open = () => readdirSync('/proc/self/fd').filter((fd) => {
       try { return !readlinkSync('/proc/self/fd/' + fd).startsWith('socket:') } catch { return false }
     }).length
     const before = open()
     const children = Array.from({ length: 50 }, (_, code) => run('exit ' + code, { directory: directory + code }))
     const ends = await Promise.all(children.map((child) => child.ended))
     // Under load our code reads an end from its file before the host receives it and releases the process.
     const deadline = Date.now() + 30_000
     while (open() > before && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
     return [open() - before, ends.map((end) => end.code)]`,
  )
  expect(seen).toEqual([expect.any(Number), Array.from({ length: 50 }, (_, code) => code)])
  expect((seen as [number])[0]).toBeLessThanOrEqual(0)
})

test('a command reports its end by an event, without polling', async () => {
  const end = await inside(
    'event',
    `// After the first poll no timer fires, so that no other poll happens.
     const first = { now: Date.now, after: (ms, callback) => (ms === 0 ? clock.after(ms, callback) : () => {}) }
     return await run('sleep 0.3; exit 9', { clock: first }).ended`,
  )
  expect(end).toEqual({ type: 'exited', code: 9 })
})

test('a command survives kill -9 of OpenCode', async () => {
  const identity = await inside(
    'outlives',
    `const { pid, key } = run('sleep 1; echo on; exit 7'); return { pid, key }`,
  )
  await opencode.stop({ signal: 'SIGKILL', keepHome: true })
  opencode = await startOpencode({ model, plugins: [probe.spec], home: opencode.home })
  const end = await inside(
    'outlives',
    `const child = attach({ ...settings, directory, ...${JSON.stringify(identity)} }); return await child.ended`,
  )
  expect(end).toEqual({ type: 'exited', code: 7 })
  expect(readFileSync(join(place, 'outlives', 'stdout'), 'utf8')).toBe('on\n')
})
