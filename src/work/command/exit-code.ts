/** The meaning of exit codes. Pure. */
import { constants } from 'node:os'

/** Formats an exit code. A code above 128 may be a shell's for a signal, or the program's own. */
export function exitCodeText(code: number): string {
  const signal = signalOf(code)
  return signal === undefined ? `${code}` : `${code}, as after ${signal}`
}

/** Returns the signal that a shell's exit code stands for; `undefined` for a code of a program's own. */
export function signalOf(code: number): NodeJS.Signals | undefined {
  const found = Object.entries(constants.signals).find(([, number]) => number === code - 128)
  return found?.[0] as NodeJS.Signals | undefined
}
