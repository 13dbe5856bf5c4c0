/** Turns the end of a command's process into the outcome of its run. Pure. */
import type { Outcome } from '../../task/state.ts'
import { completed, failed, type Said } from '../outcome.ts'
import { exitCodeText } from './exit-code.ts'
import type { CommandEnd } from './files.ts'

export function outcomeOf(end: CommandEnd, text: string): Outcome {
  const said: Said = { text, ...exitOf(end) }
  switch (end.type) {
    case 'exited':
      return end.code === 0 ? completed(said) : failed('exit', `exit code ${exitCodeText(end.code)}`, said)
    case 'killed':
      return failed('exit', `ended by ${end.signal}`, said)
    case 'lost':
      return failed('interrupted', 'its process is gone without an exit code', said)
  }
}

export function exitOf(end: CommandEnd): Pick<Said, 'exit'> {
  return end.type === 'lost' ? {} : { exit: end }
}
