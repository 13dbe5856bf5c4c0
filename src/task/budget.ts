/** The limits that a request or the options give. Pure; `budget-use.ts` compares them with what was used. */
import { ToolError } from '../tool-error.ts'
import type { Budget } from './state.ts'

/** Returns the limits of `own`, and for each that it lacks that of `usual`; 0 is no limit. `undefined` for no limit at all. */
export function limitsOf(usual: Budget, own: Budget = {}): Budget | undefined {
  const limits = Object.entries({ ...usual, ...own }).filter(([, amount]) => amount > 0)
  return limits.length > 0 ? Object.fromEntries(limits) : undefined
}

/** Throws a `ToolError` if a limit of a request is not above 0. */
export function refuseBadBudget(budget: Budget = {}): void {
  for (const [limit, amount] of Object.entries(budget))
    if (!(Number.isFinite(amount) && amount > 0))
      throw new ToolError(`budget.${limit}: must be a number above 0. Omit it for no limit.`)
}
