import { expect, test } from 'vitest'
import { ShellEnv } from '../../../../src/work/command/shell-env-hooks.ts'

/** Creates a ShellEnv; OpenCode calls its hook first, then the slower hook of another plugin. */
function create(hook: (cwd: string) => Record<string, string> | Promise<never>) {
  const warnings: string[] = []
  let atOnce = 0
  let most = 0
  const shellEnv: ShellEnv = new ShellEnv({
    log: { debug: () => {}, warn: (message) => void warnings.push(message) },
    opencode: {
      async callShellHooks(cwd) {
        most = Math.max(most, (atOnce += 1))
        const output = { env: {} }
        shellEnv.hear({ cwd }, output)
        await Promise.resolve()
        Object.assign(output.env, await hook(cwd))
        atOnce -= 1
      },
    },
  })
  return { shellEnv, warnings, most: () => most }
}

test('ShellEnv returns the variables of each directory, with one hook call at a time', async () => {
  const { shellEnv, most } = create((cwd) => ({ HERE: cwd }))
  const answers = await Promise.all(['/a', '/b', '/a'].map((cwd) => shellEnv.of(cwd)))
  expect(answers).toEqual([{ HERE: '/a' }, { HERE: '/b' }, { HERE: '/a' }])
  expect(most()).toBe(1)
  expect(shellEnv.isAddedTo).toBe(false)
})

test('a failed hook costs a command only its variables', async () => {
  const { shellEnv, warnings } = create(() => Promise.reject(new Error('no direnv')))
  expect(await shellEnv.of('/a')).toEqual({})
  expect(warnings).toEqual(['could not call the shell.env hooks for /a: no direnv'])
})

test("variables for OpenCode's own bash tool show that a hook exists, and reach no command", async () => {
  const { shellEnv } = create(() => ({}))
  const output = { env: {} }
  const asked = shellEnv.of('/a')
  shellEnv.hear({ cwd: '/a', sessionID: 'ses_other' }, output)
  expect(shellEnv.isAddedTo).toBe(false)
  Object.assign(output.env, { TOKEN: 'of that session' })
  expect(shellEnv.isAddedTo).toBe(true)
  expect(await asked).toEqual({})
})
