/** What shell commands need of the machine that they run on. */
import { accessSync, constants, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, isAbsolute, join } from 'node:path'

export interface Machine {
  /** Holds a directory for the files of each command. */
  readonly root: string
  /** The shell, as a path. */
  readonly shell: string
  /** What a command sees: what OpenCode's own bash tool gives it too, and what has programs write without delay. */
  readonly env: NodeJS.ProcessEnv
  /** Calls back when this process is told to end by a signal. Returns how to stop listening. */
  onTermination(callback: () => void): () => void
}

/** What a command runs in. */
export type Surroundings = Pick<Machine, 'shell' | 'env'>

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
/** Shells of the language of the lines that models write. What an account is given to keep it out is none of them. */
const KNOWN_SHELLS: ReadonlySet<string> = new Set(['bash', 'zsh', 'sh', 'dash', 'ash', 'ksh', 'mksh'])
/**
 * Programs that `/etc/shells` may list, and that do not read the language of these lines. Any other of the list is taken:
 * an administrator may have listed it to restrict an account.
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

/** Whether lines can be given to it: services and containers have programs here that say no, or nothing. */
export function isShell(path: string): boolean {
  const name = basename(path)
  return !FOREIGN_SHELLS.has(name) && (isKnownShell(path) || listedShells().includes(path))
}

/** Whether it is a shell by its name alone. */
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
    // What is not absolute is to be ignored, as its specification says.
    const state = isAbsolute(given) ? given : join(homedir(), '.local', 'state')
    return join(state, 'opencode-background', 'commands')
  },

  get shell() {
    const own = process.env['SHELL'] ?? ''
    const candidates = [...(isShell(own) ? [own] : []), '/bin/bash', '/bin/sh']
    return candidates.find(isExecutable) ?? '/bin/sh'
  },

  // Without a terminal, Python holds back what it prints; whoever wants that sets the variable, to nothing too.
  get env() {
    return { PYTHONUNBUFFERED: '1', ...process.env }
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
