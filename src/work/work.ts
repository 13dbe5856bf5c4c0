/** The work of a task, by its kind. */
import type { AgentWork } from './agent/agent-work.ts'
import type { CommandWork } from './command/command-work.ts'

export type Work = AgentWork | CommandWork
