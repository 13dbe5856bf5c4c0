/** The machine on which shell commands run: its files, shell, environment and signals. */
import { accessSync, constants, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, isAbsolute, join } from 'node:path'

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
/** Shells that run the lines that models write. Programs that block the login of an account are excluded. */
const KNOWN_SHELLS: ReadonlySet<string> = new Set(['bash', 'zsh', 'sh', 'dash', 'ash', 'ksh', 'mksh'])
/**
 * Programs that `/etc/shells` may list, and that cannot run these lines. Any other listed program is
 * accepted, because an administrator may have listed it to restrict an account.
 */
const FOREIGN_SHELLS: ReadonlySet<string> = new Set([
  'fish',
  'nu',
  'elvish',
  'xonsh',
  'murex',
  'ion',
  'ysh',
  'ngs',
  'es',
  'rc',
  'tcsh',
  'csh',
  'scsh',
  'pwsh',
  'pwsh-preview',
  'powershell',
  'screen',
  'tmux',
  'nologin',
  'false',
  'true',
])

/** Whether a program runs command lines: services and containers may have one that refuses them, or none. */
export function isShell(path: string): boolean {
  const name = basename(path)
  return !FOREIGN_SHELLS.has(name) && (isKnownShell(path) || listedShells().includes(path))
}

/** Whether the name of the program alone identifies a shell. */
export function isKnownShell(path: string): boolean {
  return KNOWN_SHELLS.has(basename(path))
}

function listedShells(): readonly string[] {
  try {
    return readFileSync('/etc/shells', 'utf8').split('\n')
  } catch {
    return []
  }
}

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
