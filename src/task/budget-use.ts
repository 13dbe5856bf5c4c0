/**
 * Compares the usage of a task, over all of its runs, with its budget, and that of all tasks of a session with the session's.
 * Pure.
 */
import { formatCost, formatTokens } from '../text/format.ts'
import { NO_USAGE, usedTogether, type Budget, type Usage } from './state.ts'
import { isEnded, usagesOf, workedMsBefore, workedMsOf, type Task } from './task.ts'

/** What was used, in the units of a budget. */
export type Spent = Required<Budget>

/** A budget, and how much of it is used. */
export interface BudgetUse {
  readonly budget: Budget
  readonly spent: Spent
}

type Limit = keyof Budget

const FORMATS: Readonly<Record<Limit, (amount: number) => string>> = {
  cost: formatCost,
  tokens: (count) => `${formatTokens(Math.round(count))} tokens`,
  toolCalls: (count) => `${count} tool calls`,
  minutes: (minutes) => `${Math.floor(minutes * 10) / 10} min`,
}

const LIMITS = Object.keys(FORMATS) as Limit[]

/** The share from which an agent is told to finish. */
const NEARLY = 0.8

/** Makes up for sums of decimal fractions, such as ten times 0.1, which is below 1. */
const ROUNDING = 1e-9

/** How many tasks a refusal names. */
const SPENDERS = 3

const MINUTE_MS = 60_000

const NOTHING_SPENT: Spent = { cost: 0, tokens: 0, toolCalls: 0, minutes: 0 }

/** Returns a text that is the same for equal budgets. */
export function budgetKey(budget: Budget = {}): string {
  return LIMITS.map((limit) => budget[limit] ?? '').join()
}

/** Returns the usage of agents that were at work for `workedMs`, in the units of a budget. */
export function spentBy({ cost, tokens, toolCalls }: Usage, workedMs: number): Spent {
  return { cost, tokens, toolCalls, minutes: workedMs / MINUTE_MS }
}

/**
 * Returns what the present run of an unfinished task has used. A command uses nothing of a budget.
 *
 * @param running its usage so far
 */
export function runSpent(task: Task, running: Usage = NO_USAGE, now: number): Spent {
  return spentBy(running, task.kind === 'agent' ? workedMsOf(task, now) : 0)
}

/**
 * Returns what all runs of a task have used.
 *
 * @param running the usage of the present run so far
 */
export function spentOf(task: Task, running: Usage | undefined, now: number): Spent {
  const ended = spentBy(usedTogether(usagesOf(task)), workedMsBefore(task))
  return isEnded(task) ? ended : spentTogether([ended, runSpent(task, running, now)])
}

export function spentTogether(all: Iterable<Spent>): Spent {
  let sum = NOTHING_SPENT
  for (const spent of all) sum = added(sum, spent)
  return sum
}

/** How much of a budget is used: less than the share at which an agent is told, at least that share, or all of it. */
export function stateOf({ budget, spent }: BudgetUse): 'within' | 'nearly' | 'spent' {
  const { share } = tightest({ budget, spent })
  return share >= 1 ? 'spent' : share >= NEARLY ? 'nearly' : 'within'
}

/**
 * Returns the budget of a task to which more is added. A limit that it did not have begins with what the task has used.
 */
export function raised(budget: Budget | undefined, more: Budget, spent: Spent): Budget {
  const limits = LIMITS.filter((limit) => budget?.[limit] !== undefined || more[limit] !== undefined)
  return Object.fromEntries(
    limits.map((limit) => [limit, (budget?.[limit] ?? spent[limit]) + (more[limit] ?? 0)]),
  )
}

/** Returns the limit that is used most, as `80 % of $1.00`. */
export function shareText(use: BudgetUse): string {
  const { limit, share } = tightest(use)
  // Rounded down, because 100 % means that it is spent.
  return `${Math.floor(share * 100)} % of ${FORMATS[limit](use.budget[limit] ?? 0)}`
}

/** Returns each limit with what is used of it, as `$0.80 of $1.00, 3 of 10 tool calls`. */
export function useText({ budget, spent }: BudgetUse): string {
  return LIMITS.flatMap((limit) => {
    const amount = budget[limit]
    return amount === undefined ? [] : [`${FORMATS[limit](spent[limit])} of ${FORMATS[limit](amount)}`]
  }).join(', ')
}

/** Names the tasks that have used most of the limit that is used most, as `bg_1 ($3.00), bg_2 ($1.20)`. */
export function spendersText(
  use: BudgetUse,
  tasks: readonly { readonly id: string; readonly spent: Spent }[],
): string {
  const { limit } = tightest(use)
  return tasks
    .filter(({ spent }) => spent[limit] > 0)
    .toSorted((one, other) => other.spent[limit] - one.spent[limit])
    .slice(0, SPENDERS)
    .map(({ id, spent }) => `${id} (${FORMATS[limit](spent[limit])})`)
    .join(', ')
}

function tightest({ budget, spent }: BudgetUse): { readonly limit: Limit; readonly share: number } {
  let found: { limit: Limit; share: number } = { limit: 'cost', share: -1 }
  for (const limit of LIMITS) {
    const amount = budget[limit]
    const share = amount === undefined ? -1 : (spent[limit] + ROUNDING) / amount
    if (share > found.share) found = { limit, share }
  }
  return found
}

function added(one: Spent, other: Spent): Spent {
  const sums = LIMITS.map((limit) => [limit, one[limit] + other[limit]])
  return Object.fromEntries(sums) as Spent
}
