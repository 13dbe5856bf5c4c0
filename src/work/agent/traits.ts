/** The traits of agents. Pure. */
import { formatCost, formatTokens } from '../../text/format.ts'
import type { Traits } from '../traits.ts'
import { agentSchema, type AgentWork } from './agent-work.ts'
import { changesLines, worktreeLines } from './changes-text.ts'

export const AGENT = {
  schema: agentSchema,
  runsInSession: true,
  isLimited: true,
  host: 'OpenCode',
  noun: 'task',
  worker: ({ agent }) => agent,
  workerInSentence: ({ agent }) => `agent ${agent}`,
  mark: ({ agent }) => agent,
  titleSuffix: ({ agent }) => `@${agent} subagent`,
  silentEnd: 'It ended without any text.',
  limit: () => 'its limit (timeoutMs)',
  lines: ({ agent, worktree }) => [`agent: ${agent}`, ...(worktree ? worktreeLines(worktree) : [])],
  endAttributes: ({ run, askedBy, agent, usage }, how) => ({
    run: String(run),
    ...(askedBy && { asker: askedBy }),
    agent,
    ...how,
    tool_calls: String(usage.toolCalls),
    tokens: formatTokens(usage.tokens),
    cost: formatCost(usage.cost),
  }),
  endLines: ({ worktree, changes }) => (worktree && changes ? changesLines(worktree, changes) : []),
  endHint: () => undefined,
  runningDetail: (_, activity) => activity ?? 'starting',
  actions: { read: 'Read the result', stop: 'Cancel it' },
} satisfies Traits<AgentWork>
