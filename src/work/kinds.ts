/** Lists the kinds of work. A new kind adds its work in `work.ts`, its traits here, and its `WorkKind` in `rooms.ts`. Pure. */
import { AGENT } from './agent/traits.ts'
import { COMMAND } from './command/traits.ts'
import type { Traits } from './traits.ts'
import type { Work } from './work.ts'

/** Each schema keeps its own type, because `record.ts` compares them to the task. */
export const KINDS = { agent: AGENT, command: COMMAND } satisfies {
  readonly [Kind in Work['kind']]: Traits<Extract<Work, { kind: Kind }>>
}

/** Returns the traits of a task, or of work that will become one. */
export function traitsOf<Each extends Work>({ kind }: Each): Traits<Each> {
  return KINDS[kind] as unknown as Traits<Each>
}
