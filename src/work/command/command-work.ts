/** The work of a shell command, as a task and its record hold it. Pure. */
import * as z from 'zod/mini'

export interface CommandWork {
  readonly kind: 'command'
  /** The line that the shell runs. */
  readonly command: string
  /** The shell's path; absent for the user's own shell. */
  readonly shell?: string
  readonly cwd: string
  /** Milliseconds; 0: no limit. */
  readonly timeoutMs: number
  /** Whether `timeoutMs` is the default: a command that proves to be a server loses that limit. */
  readonly timeoutIsDefault?: boolean
  /** Whether stdin stays open and empty; by default it is at its end. */
  readonly hasOpenInput?: boolean
  /** The parent is notified of the first of these texts that appears in the output; with `notifyEvery` they are expressions. */
  readonly notifyOn: readonly string[]
  /** Whether the parent is notified of each line that an entry of `notifyOn` matches, as an expression of RE2. */
  readonly notifyEvery?: boolean
}

export const commandSchema = z.object({
  kind: z.literal('command'),
  command: z.string(),
  shell: z.exactOptional(z.string()),
  cwd: z.string(),
  timeoutMs: z.number(),
  timeoutIsDefault: z.exactOptional(z.boolean()),
  hasOpenInput: z.exactOptional(z.boolean()),
  notifyOn: z.array(z.string()),
  notifyEvery: z.exactOptional(z.boolean()),
})
