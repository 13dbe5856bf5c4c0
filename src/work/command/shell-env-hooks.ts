/**
 * Reads the variables that other plugins add to shell commands with their hook `shell.env`, as direnv plugins
 * do. OpenCode calls that hook for its own bash tool, and when a client opens a terminal. `ShellEnv` opens a
 * terminal to trigger the hooks, and reads the object that OpenCode passes to each hook, including ours.
 */
import type { Log } from '../../host/log.ts'
import { errorText, type Opencode } from '../../host/opencode.ts'

/** The input of the hook `shell.env`. */
export interface ShellEnvInput {
  readonly cwd: string
  /** Absent for a terminal. */
  readonly sessionID?: string
}

export interface ShellEnvOutput {
  /** The hooks write to it one after another. */
  readonly env: Readonly<Record<string, string>>
}

interface Asked {
  readonly cwd: string
  output?: ShellEnvOutput
}

export class ShellEnv {
  readonly #opencode: Pick<Opencode, 'callShellHooks'>
  readonly #log: Log
  /** The output of the last hook call that this class did not trigger. */
  #others: ShellEnvOutput | undefined
  #asked: Asked | undefined
  /** The newest request. Requests run one after another, because the hook's input does not identify them. */
  #asking: Promise<unknown> = Promise.resolve()

  constructor({ opencode, log }: { opencode: Pick<Opencode, 'callShellHooks'>; log: Log }) {
    this.#opencode = opencode
    this.#log = log
  }

  /** Must be called from the hook `shell.env`. Hooks of other plugins may write to the output later. */
  hear({ cwd, sessionID }: ShellEnvInput, output: ShellEnvOutput): void {
    if (sessionID === undefined && this.#asked?.cwd === cwd) this.#asked.output ??= output
    else this.#others = output
  }

  /** Whether the last hook call that we did not trigger has variables of another plugin. */
  get isAddedTo(): boolean {
    return Object.keys(this.#others?.env ?? {}).length > 0
  }

  /** Returns the variables for a command in `cwd`; none if the hooks cannot be called. Never rejects. */
  of(cwd: string): Promise<Readonly<Record<string, string>>> {
    const answer = this.#asking.then(() => this.#ask(cwd))
    this.#asking = answer
    return answer
  }

  async #ask(cwd: string): Promise<Readonly<Record<string, string>>> {
    const asked: Asked = { cwd }
    this.#asked = asked
    try {
      await this.#opencode.callShellHooks(cwd)
    } catch (error) {
      this.#log.warn(`could not call the shell.env hooks for ${cwd}: ${errorText(error)}`)
    }
    this.#asked = undefined
    return { ...asked.output?.env }
  }
}
