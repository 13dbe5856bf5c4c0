/** Decides which programs count as a shell for command lines. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

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
