/**
 * Reads the variables that other plugins add to shell commands by their hook `shell.env`, as direnv plugins do. OpenCode
 * calls that hook for a command of its own bash tool, and when a client opens a terminal: opening one is how a plugin can
 * have the hooks called, and each is given the same object to write to, ours as well.
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
  /** Written to by the hooks, one after another. */
  readonly env: Readonly<Record<string, string>>
}

interface Asked {
  readonly cwd: string
  output?: ShellEnvOutput
}

export class ShellEnv {
  readonly #opencode: Pick<Opencode, 'callShellHooks'>
  readonly #log: Log
  /** Of the call that was heard last and is not ours. */
  #others: ShellEnvOutput | undefined
  #asked: Asked | undefined
  /** The newest question: one after another, since nothing in the hook's input says which it is. */
  #asking: Promise<unknown> = Promise.resolve()

  constructor({ opencode, log }: { opencode: Pick<Opencode, 'callShellHooks'>; log: Log }) {
    this.#opencode = opencode
    this.#log = log
  }

  /** To be called from the hook `shell.env`. The hooks of other plugins may write to the output later. */
  hear({ cwd, sessionID }: ShellEnvInput, output: ShellEnvOutput): void {
    if (sessionID === undefined && this.#asked?.cwd === cwd) this.#asked.output ??= output
    else this.#others = output
  }

  /** Whether another plugin was seen to add something. */
  get isAddedTo(): boolean {
    return Object.keys(this.#others?.env ?? {}).length > 0
  }

  /** The variables for a command in this directory; none where the hooks cannot be called. Never rejects. */
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
      this.#log.warn(`the hooks shell.env for ${cwd}: ${errorText(error)}`)
    }
    this.#asked = undefined
    return { ...asked.output?.env }
  }
}
