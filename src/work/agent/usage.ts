/** Counts what answers of a model have used. Pure. */
import type { Message, Part } from '../../host/opencode.ts'
import { usedTogether, type Usage } from '../../task/state.ts'

type Answer = Extract<Message, { role: 'assistant' }>

export function usageOf(
  answers: readonly { readonly info: Answer; readonly parts: readonly Part[] }[],
): Usage {
  return usedTogether(
    answers.map(({ info, parts }) => ({
      toolCalls: parts.filter((part) => part.type === 'tool').length,
      tokens: tokensOf(info.tokens),
      cost: info.cost,
    })),
  )
}

/** Returns all tokens of an answer, also those read from a cache and written to it. */
export function tokensOf({ input, output, reasoning, cache }: Answer['tokens']): number {
  return input + output + reasoning + cache.read + cache.write
}
