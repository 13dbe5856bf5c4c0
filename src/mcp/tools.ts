/** The tools that the MCP server offers: those of the plugin, with a wait, and with structured content. */
import { backgroundOutput } from '../tools/background-output.ts'
import { backgroundTask } from '../tools/background-task.ts'
import { checkBackground } from '../tools/check-background.ts'
import { killBackground } from '../tools/kill-background.ts'
import { runBackground } from '../tools/run-background.ts'
import type { Tool, ToolShape } from '../tools/tool.ts'
import { offer, type Offer } from './offer.ts'
import {
  cancelJSON,
  cancelSchema,
  listJSON,
  listSchema,
  readJSON,
  readSchema,
  startedJSON,
} from './structured-content.ts'
import { cancelling, listed, routed } from './two-workplaces.ts'
import { waiting } from './wait.ts'
import type { McpCaller, Workplace } from './workplace.ts'

const READS = { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false }
const RUNS = { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true }
const ENDS = { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false }

/**
 * Returns the tools for commands, and those for agents.
 *
 * @param agents absent without a running OpenCode
 */
export function offersOf(commands: Workplace, agents: Workplace | undefined): readonly Offer[] {
  return [
    offer(commands, confined(runBackground(commands)), {
      title: 'Run a command in the background',
      // The schema of a read, because the result of a task handle must match it, and that is a read of the ended task.
      schema: readSchema,
      structure: startedJSON,
      tasksOf: ({ task }) => [task],
      annotations: RUNS,
    }),
    offer(commands, routed(waiting('wait', checkBackground), commands, agents), {
      title: 'Read a background command',
      schema: readSchema,
      structure: readJSON,
      tasksOf: ({ report }) => [report.task],
      annotations: READS,
    }),
    offer(commands, listed(commands, agents), {
      title: 'List background tasks',
      schema: listSchema,
      structure: listJSON,
      tasksOf: () => [],
      annotations: READS,
    }),
    offer(commands, routed(killBackground, commands, agents), {
      title: 'Kill a background command',
      schema: cancelSchema,
      structure: cancelJSON,
      tasksOf: ({ tasks }) => tasks.map(({ task }) => task),
      annotations: ENDS,
    }),
    ...(agents ? agentOffers(commands, agents) : []),
  ]
}

function agentOffers(commands: Workplace, agents: Workplace): readonly Offer[] {
  return [
    offer(agents, routed(backgroundTask, agents, commands), {
      title: 'Hand work to an agent of OpenCode',
      schema: readSchema,
      structure: startedJSON,
      tasksOf: ({ task }) => [task],
      annotations: RUNS,
    }),
    offer(agents, routed(waiting('block', withoutNotices), agents, commands), {
      title: 'Read a background task',
      schema: readSchema,
      structure: readJSON,
      tasksOf: (answer) => ('report' in answer ? [answer.report.task] : []),
      annotations: READS,
    }),
    offer(agents, cancelling(agents, commands), {
      title: 'Stop background tasks',
      schema: cancelSchema,
      structure: cancelJSON,
      tasksOf: ({ tasks }) => tasks.map(({ task }) => task),
      annotations: ENDS,
    }),
  ]
}

/** Returns a tool that starts commands only in the directories of the caller's roots. */
function confined<Shape extends ToolShape, Data>(tool: Tool<Shape, Data>): Tool<Shape, Data> {
  return {
    ...tool,
    async call(args, caller) {
      const roots = await (caller as McpCaller).roots()
      const { cwd = '.' } = args as { readonly cwd?: string }
      return tool.call({ ...args, cwd: await roots.confine(cwd) }, { ...caller, directory: roots.directory })
    },
  }
}

/** Returns the tool that reads a task, without the notices in its story, because an MCP client is owed none. */
function withoutNotices(workplace: Workplace): ReturnType<typeof backgroundOutput> {
  const tool = backgroundOutput(workplace)
  return {
    ...tool,
    async call(args, caller) {
      const answer = await tool.call(args, caller)
      if (!('story' in answer) || !answer.story) return answer
      const steps = answer.story.steps.filter(({ type }) => type !== 'notice')
      return { ...answer, story: { ...answer.story, steps } }
    },
  }
}
