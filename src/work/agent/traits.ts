/** The traits of agents. Pure. */
import { formatCost, formatTokens } from '../../text/format.ts'
import { isLost } from '../../task/task.ts'
import type { Traits } from '../traits.ts'
import { agentSchema, type AgentWork } from './agent-work.ts'
import { changesLines, placeLines, whereText, worktreeLines } from './changes-text.ts'

export const AGENT = {
  schema: agentSchema,
  runsInSession: true,
  isLimited: true,
  host: 'OpenCode',
  noun: 'task',
  worker: ({ agent, place }) => (place ? `${agent} ${whereText(place)}` : agent),
  workerInSentence: ({ agent }) => `agent ${agent}`,
  mark: ({ agent, place }) => (place ? `${agent} ${whereText(place)}` : agent),
  titleSuffix: ({ agent }) => `@${agent} subagent`,
  silentEnd: 'It ended without any text.',
  limit: () => 'its limit (timeoutMs)',
  lines: ({ agent, worktree, place }) => [
    `agent: ${agent}`,
    ...(place ? placeLines(place) : []),
    ...(worktree ? worktreeLines(worktree, place) : []),
  ],
  endAttributes: ({ run, askedBy, agent, usage, place }, how) => ({
    run: String(run),
    ...(askedBy && { asker: askedBy }),
    agent,
    ...(place?.type === 'machine' && { machine: place.name }),
    ...how,
    tool_calls: String(usage.toolCalls),
    tokens: formatTokens(usage.tokens),
    cost: formatCost(usage.cost),
  }),
  endLines: ({ worktree, changes, place }) =>
    worktree && changes ? changesLines(worktree, changes, place) : [],
  endHint: () => undefined,
  runningDetail: (task, activity) =>
    isLost(task)
      ? `no contact with ${task.place?.type === 'machine' ? task.place.name : 'the fleet'}`
      : (activity ?? (task.place ? undefined : 'starting')),
  actions: { read: 'Read the result', stop: 'Cancel it' },
} satisfies Traits<AgentWork>
