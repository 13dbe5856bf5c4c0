/** The types of the dependencies and of the caller of a tool. */
import type { ToolContext } from '@opencode-ai/plugin'
import type { BackgroundManager } from '../manager.ts'
import type { traitsOf } from '../work/kinds.ts'
import type { Guidance } from './notice-guidance.ts'

export type { ToolContext, ToolDefinition, ToolResult } from '@opencode-ai/plugin'

/** The caller of a tool: its session, its directories, and the function that requests a permission. */
export type Caller = Pick<ToolContext, 'sessionID' | 'messageID' | 'directory' | 'worktree' | 'abort' | 'ask'>

/** The dependencies of the tools. */
export interface ToolPorts {
  readonly manager: BackgroundManager
  /** In milliseconds since the Unix epoch. */
  readonly now: () => number
  readonly guidance: Guidance
  /** Passed to the renderers, because these import only code for texts. */
  readonly traitsOf: typeof traitsOf
}
