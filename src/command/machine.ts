/** What shell commands need of the machine that they run on. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, isAbsolute, join } from 'node:path'

export interface Machine {
  /** Holds a directory for the files of each command. */
  readonly root: string
  /** The shell, as a path. */
  readonly shell: string
  /** What a command sees: what OpenCode's own bash tool gives it too. */
  readonly env: NodeJS.ProcessEnv
  /** Calls back when this process is told to end by a signal. Returns how to stop listening. */
  onTermination(callback: () => void): () => void
}

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
/** Shells of another language than the lines that models write. */
const FOREIGN_SHELLS: ReadonlySet<string> = new Set(['fish', 'nu'])

export const thisMachine: Machine = {
  get root() {
    const given = process.env['XDG_STATE_HOME'] ?? ''
    // What is not absolute is to be ignored, as its specification says.
    const state = isAbsolute(given) ? given : join(homedir(), '.local', 'state')
    return join(state, 'opencode-background', 'commands')
  },

  get shell() {
    const own = process.env['SHELL']
    const candidates = [...(own && !FOREIGN_SHELLS.has(basename(own)) ? [own] : []), '/bin/bash', '/bin/sh']
    return candidates.find((path) => existsSync(path)) ?? '/bin/sh'
  },

  get env() {
    return process.env
  },

  // Of a signal, `serve` dies without a word to its plugins (contract 9.3), and `run` exits in a listener of its own.
  onTermination(callback) {
    const stop = (): void => {
      process.off('exit', callback)
      for (const signal of SIGNALS) process.off(signal, onSignal)
    }
    const onSignal = (signal: NodeJS.Signals): void => {
      callback()
      stop()
      // What a listener prevents otherwise; others have heard it themselves.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
    }
    process.on('exit', callback)
    for (const signal of SIGNALS) process.prependListener(signal, onSignal)
    return stop
  },
}
