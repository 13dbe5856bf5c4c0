/** What a task waits for, in a few words. Pure. */
import type { Asked } from '../task/task.ts'

export function asksText(asks: readonly Asked[]): string {
  return asks.map(({ permission, patterns }) => [permission, ...patterns].join(' ')).join('; ')
}
