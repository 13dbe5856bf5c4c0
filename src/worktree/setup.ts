/**
 * Runs the command line `worktree.setup` in a new tree, before the first prompt of its agent. It runs like a background command,
 * with its output in files, but has no task. Its leftover processes are killed, because no tool could kill them later.
 * `background_task` has already requested its permissions.
 */
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Options } from '../config.ts'
import { errorText } from '../host/opencode.ts'
import type { Failure } from '../task/state.ts'
import type { AgentTask } from '../task/task.ts'
import { formatDuration } from '../text/format.ts'
import { sanitize } from '../text/sanitize.ts'
import type { Worktree } from '../work/agent/agent-work.ts'
import { exitCodeText } from '../work/command/exit-code.ts'
import type { CommandEnd, CommandOwner, isRunning, readProcessIdentity } from '../work/command/files.ts'
import type { Machine } from '../work/command/this-machine.ts'
import type { attach, CommandProcess } from '../work/command/process.ts'
import type { start } from '../work/command/process-start.ts'
import type { markTold } from '../work/command/retention.ts'
import type { Git } from './git.ts'
import { isSetUp, markBegun, markDone } from './setup-marks.ts'

/** Functions of `work/command`, passed in because this folder is a bundle of its own, and the server has loaded their code. */
export interface Processes {
  readonly start: typeof start
  readonly attach: typeof attach
  readonly isRunning: typeof isRunning
  readonly readProcessIdentity: typeof readProcessIdentity
  readonly markTold: typeof markTold
}

export interface SetupPorts {
  readonly clock: Clock
  readonly machine: Machine
  readonly processes: Processes
  readonly owners: { readonly self: CommandOwner['owner'] }
  readonly shellEnv: { of(cwd: string): Promise<Readonly<Record<string, string>>> }
  /** Aborted when the instance ends. */
  readonly disposal: AbortSignal
}

/** How much of each stream the message of a failure contains. */
const SHOWN = { bytes: 400, lines: 8 }
/** Longer than a tick of the clock for file times, which is at most 10 ms on Linux. */
const TICK_MS = 20
const ADVICE = 'Correct that, and continue the task'
const interrupted: Failure = { reason: 'interrupted', message: 'worktree.setup was stopped' }

export class Setup {
  readonly #git: Git
  readonly #ports: SetupPorts
  readonly #options: Pick<Options, 'worktree' | 'commands'>

  constructor(git: Git, ports: SetupPorts, options: Pick<Options, 'worktree' | 'commands'>) {
    this.#git = git
    this.#ports = ports
    this.#options = options
  }

  /** Whether the next run must start with the setup, because none has succeeded in this tree. */
  async isDue({ root }: Worktree): Promise<boolean> {
    return this.#options.worktree.setup !== '' && !(await isSetUp(this.#git, root))
  }

  /** Runs the setup of a tree, if it is due. Resolves with its failure. `stop` and the end of the instance kill it. */
  async run(task: AgentTask, worktree: Worktree, stop: AbortSignal): Promise<Failure | undefined> {
    if (!(await this.isDue(worktree))) return undefined
    const { machine, disposal } = this.#ports
    await markBegun(this.#git, worktree.root)
    let child: CommandProcess | undefined
    /** The first cause for which it is being killed. */
    let cause: Failure | undefined
    let killed: Promise<void> | undefined
    const kill = (why?: Failure): void => {
      cause ??= why
      killed = child?.kill()
    }
    const onStop = (): void => kill(interrupted)
    // Subscribe before the start, so that a signal during the start is handled once `child` is set.
    const stopListening = machine.onTermination(() => child?.killNow())
    let cancelLimit = (): void => {}
    try {
      child = await this.#begin(task, worktree, () => kill(this.#overOutput()))
      cancelLimit = this.#limit(() => kill(this.#overTime()))
      for (const signal of [stop, disposal]) signal.addEventListener('abort', onStop)
      if (stop.aborted || disposal.aborted) onStop()
      const end = await child.ended
      await (killed ?? child.kill())
      if (cause === interrupted) return cause
      const failure = cause ?? failureOf(end)
      if (failure) return { ...failure, message: this.#withOutput(failure.message, child, task) }
      await markDone(this.#git, worktree.root)
      // Wait for the next tick: a file that the agent wrote in this one would count as made by the setup.
      await new Promise<void>((resolve) => this.#ports.clock.after(TICK_MS, resolve))
      this.#ports.processes.markTold(this.#directory(task))
      return undefined
    } catch (error) {
      const message = `worktree.setup could not be started: ${errorText(error)}. ${ADVICE}.`
      return { reason: 'error', message }
    } finally {
      cancelLimit()
      stopListening()
      for (const signal of [stop, disposal]) signal.removeEventListener('abort', onStop)
    }
  }

  /** Kills the setup that a run's earlier process started, if it still runs. */
  async killLeft(task: Pick<AgentTask, 'id' | 'run'>): Promise<void> {
    const directory = this.#directory(task)
    const { clock, processes } = this.#ports
    const identity = processes.isRunning(directory) ? processes.readProcessIdentity(directory) : undefined
    if (identity) await processes.attach({ ...identity, directory, clock, ...this.#options.commands }).kill()
  }

  async #begin(
    task: AgentTask,
    { directory: cwd }: Worktree,
    onTooMuchOutput: () => void,
  ): Promise<CommandProcess> {
    const { clock, machine, owners, processes, shellEnv } = this.#ports
    const { commands, worktree } = this.#options
    const added = commands.shellEnv ? await shellEnv.of(cwd) : {}
    return processes.start({
      command: worktree.setup,
      shell: await shellFor(worktree.setup, cwd, machine),
      cwd,
      env: { ...machine.env, ...added },
      directory: this.#directory(task),
      belonging: { owner: owners.self, timeoutMs: commands.timeoutMs },
      clock,
      ...commands,
      onTooMuchOutput,
    })
  }

  #limit(onOver: () => void): () => void {
    const { timeoutMs } = this.#options.commands
    return timeoutMs === 0 ? () => {} : this.#ports.clock.after(timeoutMs, onOver)
  }

  #overTime(): Failure {
    const limit = formatDuration(this.#options.commands.timeoutMs)
    return {
      reason: 'timeout',
      message: `was killed after ${limit}, which is its limit (commands.timeoutMs)`,
    }
  }

  #overOutput(): Failure {
    const { maxOutputBytes } = this.#options.commands
    return {
      reason: 'error',
      message: `was killed after more than ${maxOutputBytes} bytes of output, which is its limit`,
    }
  }

  #withOutput(what: string, child: CommandProcess, task: AgentTask): string {
    const tails = (['stdout', 'stderr'] as const).map((stream) =>
      sanitize(child.tail(stream, SHOWN).text).trim(),
    )
    const shown = tails.filter((text) => text !== '').map((text) => `\n${text}`)
    return `worktree.setup ${what}. ${ADVICE}. All of its output: ${this.#directory(task)}${shown.join('')}`
  }

  #directory({ id, run }: Pick<AgentTask, 'id' | 'run'>): string {
    return join(this.#ports.machine.root, `${id}-setup-${run}`)
  }
}

/** Returns the shell for which the permissions of the line were requested. */
async function shellFor(line: string, cwd: string, machine: Machine): Promise<string> {
  const { claimsOf } = await import('../work/command/required-permissions/required-permissions.ts')
  const where = { cwd, directory: cwd, worktree: cwd }
  const { shell } = await claimsOf(line, where, machine).catch(() => ({ shell: undefined }))
  return shell ?? machine.shell
}

function failureOf(end: CommandEnd): Failure | undefined {
  switch (end.type) {
    case 'exited':
      if (end.code === 0) return undefined
      return { reason: 'error', message: `ended with exit code ${exitCodeText(end.code)}` }
    case 'killed':
      return { reason: 'error', message: `was ended by ${end.signal}` }
    case 'lost':
      return { reason: 'error', message: 'ended without an exit code' }
  }
}
