/** How commands start and end. */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { readEnd, WRAPPER } from '../../src/work/command/files.ts'
import { CommandProcess } from '../../src/work/command/process.ts'
import { outputOf, run, temporaryDirectory, watchFor } from './commands.ts'

const ALL = { bytes: 10_000 }

test('a command has its exit code, and two separate streams', async () => {
  const { process: child } = run('echo out; echo err >&2; sleep 1; exit 3')
  expect(await child.ended).toEqual({ type: 'exited', code: 3 })
  expect(child.tail('stdout', ALL).text).toBe('out\n')
  expect(child.tail('stderr', ALL).text).toBe('err\n')
})

test.each([
  ['quotes', `printf %s "it's" '"$HOME"'`, `it's"$HOME"`],
  ['dollar signs', `x=1; printf %s "$x $# $((x + 1)) $(echo \`echo a\`)" '$x'`, '1 0 2 a$x'],
  ['newlines', 'printf a\nprintf b\n\nprintf c\n', 'abc'],
  ['a backslash at its end', 'printf %s a\\', 'a\\'],
  ['a comment at its end', 'printf a # "it\'s', 'a'],
  ['a here-document', "cat <<'END'\n$x `y` \\\nEND", '$x `y` \\\n'],
  ['an exit in its midst', 'printf a; exit 0; printf b', 'a'],
])('a command line with %s reaches the shell unchanged', async (_, command, output) => {
  expect(await outputOf(command)).toBe(output)
})

test('a command has the given shell, directory and environment, and no more', async () => {
  const cwd = temporaryDirectory()
  const env = { PATH: process.env['PATH'], GREETING: 'hello\nthere', how: 'kept', status: 'kept' }
  const script = `console.log(JSON.stringify([process.env, process.cwd(), process.argv0]))`
  const node = `exec '${process.execPath}' -e '${script}'`
  const [seen, directory] = JSON.parse(await outputOf(node, { cwd, env, shell: '/bin/sh' })) as [
    object,
    string,
  ]
  // The shell itself adds `PWD`.
  expect(seen).toEqual({ ...env, PWD: cwd })
  expect(directory).toBe(cwd)
  expect(await outputOf('printf %s "$0${BASH_VERSION:+!}"', { shell: '/bin/bash' })).toBe('/bin/bash!')
})

test('a command has an empty input, no other descriptor, and default signals', async () => {
  // A command that reads must end.
  expect(await outputOf('cat; echo read')).toBe('read\n')
  const { process: child, directory } = run(
    `for fd in 0 1 2 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$fd; done; grep -E 'Sig(Blk|Ign)' /proc/self/status`,
  )
  await child.ended
  const open = ['/dev/null', `${directory}/stdout`, `${directory}/stderr`]
  const signals = ['SigBlk:\t0000000000000000', 'SigIgn:\t0000000000000000', '']
  expect(child.tail('stdout', ALL).text).toBe([...open, ...signals].join('\n'))
})

test('an open input is empty and does not end, even if its starter is gone', async () => {
  const line = 'if read -r line; then echo read; else echo ended; fi'
  expect(await outputOf(line)).toBe('ended\n')
  const { process: child, directory } = run(
    `exec 5<&0; ${line} <&5 & sleep 0.5; kill $!; readlink /proc/$$/fd/0`,
    {
      hasOpenInput: true,
    },
  )
  await child.ended
  expect(child.tail('stdout', ALL).text).toMatch(/^\S+\/stdin \(deleted\)\n$/)
  expect(readdirSync(directory)).not.toContain('stdin')
})

test.each(['SIGKILL', 'SIGSEGV', 'SIGTERM', 'SIGUSR1'] as const)(
  'a command that ends by %s was killed by it',
  async (signal) => {
    const { process: child, attach } = run(`kill -${signal.slice(3)} $$; sleep 5`)
    expect(await child.ended).toEqual({ type: 'killed', signal })
    expect(await attach().ended).toEqual({ type: 'killed', signal })
    expect(child.tail('stderr', ALL).text).toBe('')
  },
)

test.each([130, 137, 141, 143])('a command that exits with %i by itself was not killed', async (code) => {
  const { process: child, attach } = run(`exit ${code}`)
  expect(await child.ended).toEqual({ type: 'exited', code })
  expect(await attach().ended).toEqual({ type: 'exited', code })
})

test.each([
  ['SIGINT', 130],
  ['SIGPIPE', 141],
] as const)(
  'a command that ends by %s has an exit code, because it may have returned that itself',
  async (signal, code) => {
    const { process: child } = run(`kill -${signal.slice(3)} $$; sleep 5`)
    expect(await child.ended).toEqual({ type: 'exited', code })
  },
)

test.each([
  ['dash', ['/bin/dash']],
  ['bash', ['/bin/bash']],
  ['bash in POSIX mode', ['/bin/bash', '-o', 'posix']],
] as const)('the wrapper records the end of a command when sh is %s', (_, [shell, ...options]) => {
  const end = (line: string): unknown => {
    const directory = temporaryDirectory()
    const args = [...options, '-c', WRAPPER, 'sh', '/bin/sh', line, directory]
    writeFileSync(join(directory, 'exit.new'), '')
    expect(spawnSync(shell, args).stderr.toString()).toBe('')
    return readEnd(directory)
  }
  expect(end('kill -KILL $$')).toEqual({ type: 'killed', signal: 'SIGKILL' })
  expect(end('kill -TERM $$')).toEqual({ type: 'killed', signal: 'SIGTERM' })
  expect(end('exit 137')).toEqual({ type: 'exited', code: 137 })
  expect(end('exit 143')).toEqual({ type: 'exited', code: 143 })
})

test('a command that removes its files still has its exit code, and no output', async () => {
  const { process: child, directory } = run('rm -r "$(dirname "$(readlink /proc/$$/fd/2)")"; exit 4')
  expect(await child.ended).toEqual({ type: 'exited', code: 4 })
  expect(existsSync(directory)).toBe(false)
  expect(child.tail('stdout', ALL)).toEqual({ text: '', leftOutBytes: 0 })
})

test('a command with an unreadable log still has its end', async () => {
  const cwd = temporaryDirectory()
  const line = 'until [ -e go ]; do sleep 0.05; done; exit 5'
  const { process: child, directory } = run(line, { cwd, maxOutputBytes: 1000 })
  watchFor(child, ['never said'], () => {})
  for (const stream of ['stdout', 'stderr']) {
    rmSync(join(directory, stream))
    symlinkSync(stream, join(directory, stream))
  }
  writeFileSync(join(cwd, 'go'), '')
  expect(await child.ended).toEqual({ type: 'exited', code: 5 })
})

test('only the user may read the files of a command', async () => {
  const { process: child, directory } = run('umask')
  await child.ended
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  const names = readdirSync(directory).toSorted()
  expect(names).toEqual(['exit', 'process', 'stderr', 'stdout', 'task'])
  for (const name of names) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600)
  // The command itself keeps the usual umask.
  expect(child.tail('stdout', ALL).text.trim()).toBe(process.umask().toString(8).padStart(4, '0'))
})

test('a command that cannot be started throws the reason, and leaves no files', () => {
  const root = temporaryDirectory()
  const directory = join(root, 'command')
  expect(() => run('true', { directory, cwd: '/nowhere' })).toThrow('no such directory: /nowhere')
  expect(() => run('true', { directory, shell: '/bin/nosh' })).toThrow('/bin/nosh')
  expect(() => run('#'.repeat(3_000_000), { directory })).toThrow(/E2BIG|could not be started/)
  expect(readdirSync(root)).toEqual([])
})

test('a command does not start in a directory that is unwritable or already exists', () => {
  const root = temporaryDirectory()
  writeFileSync(join(root, 'file'), '')
  expect(() => run('true', { directory: join(root, 'file', 'command') })).toThrow(/ENOTDIR|EEXIST/)
  expect(() => run('true', { directory: '/proc/nowhere' })).toThrow(/ENOENT|EACCES|EPERM/)
  mkdirSync(join(root, 'taken'))
  writeFileSync(join(root, 'taken', 'stdout'), 'of another')
  expect(() => run('true', { directory: join(root, 'taken') })).toThrow('EEXIST')
  expect(readdirSync(join(root, 'taken'))).toEqual(['stdout'])
})

test('a hundred commands at once leave no descriptor and no process behind', async () => {
  const before = readdirSync('/proc/self/fd').length
  const commands = Array.from({ length: 100 }, (_, index) => run(`echo ${index}; exit ${index}`))
  const ends = await Promise.all(commands.map(({ process: child }) => child.ended))
  expect(ends).toEqual(commands.map((_, code) => ({ type: 'exited', code })))
  expect(commands.map(({ process: child }) => child.tail('stdout', ALL).text)).toEqual(
    commands.map((_, index) => `${index}\n`),
  )
  expect(readdirSync('/proc/self/fd')).toHaveLength(before)
})

test('the end of a command is detected even if its event is lost', async () => {
  const { process: child, directory } = run('exit 3')
  const { pid, key } = child
  const options = { pid, key, directory, clock: systemClock, killGraceMs: 100, maxOutputBytes: 1000 }
  const deaf = new CommandProcess(options, new EventEmitter() as ChildProcess)
  expect(await deaf.ended).toEqual({ type: 'exited', code: 3 })
})
