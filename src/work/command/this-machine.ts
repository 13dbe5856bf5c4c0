/** The machine on which shell commands run: its files, shell, environment and signals. */
import { accessSync, constants } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { isShell } from './shells.ts'

export interface Machine {
  /** Contains a directory for the files of each command. */
  readonly root: string
  /** The path of the shell. */
  readonly shell: string
  /** The environment of a command: that of OpenCode's own bash tool, with output buffering turned off. */
  readonly env: NodeJS.ProcessEnv
  /** Calls back when this process exits or receives a signal to end. Returns a function that unsubscribes. */
  onTermination(callback: () => void): () => void
}

/** The shell and the environment of a command. */
export type Surroundings = Pick<Machine, 'shell' | 'env'>

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export const thisMachine: Machine = {
  get root() {
    const given = process.env['XDG_STATE_HOME'] ?? ''
    // The XDG specification requires that relative paths are ignored.
    const state = isAbsolute(given) ? given : join(homedir(), '.local', 'state')
    return join(state, 'opencode-background', 'commands')
  },

  get shell() {
    const own = process.env['SHELL'] ?? ''
    const candidates = [...(isShell(own) ? [own] : []), '/bin/bash', '/bin/sh']
    return candidates.find(isExecutable) ?? '/bin/sh'
  },

  // Without a terminal Python buffers its output. Users can keep that with an empty value of the variable.
  get env() {
    return { PYTHONUNBUFFERED: '1', ...process.env }
  },

  // On a signal `serve` dies without notifying plugins (contract 9.3), and `run` exits in its own listener.
  onTermination(callback) {
    const stop = (): void => {
      process.off('exit', callback)
      for (const signal of SIGNALS) process.off(signal, onSignal)
    }
    const onSignal = (signal: NodeJS.Signals): void => {
      callback()
      stop()
      // Repeats the signal, because our listener prevented its default action; other listeners handle it.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
    }
    process.on('exit', callback)
    for (const signal of SIGNALS) process.prependListener(signal, onSignal)
    return stop
  },
}
