/**
 * Exports background tasks to other plugins: the class that this plugin uses itself. Each manager has its own
 * tasks, and does not know the tasks of another manager, in the same session or elsewhere. The build bundles
 * one declaration file from this module, and fails if its declarations name a type that is not exported here.
 */
export { BackgroundManager } from './manager.ts'
export { readerOf } from './host/reader.ts'
export { timelineOf } from './session-timeline/read.ts'
export { isEnded } from './task/task.ts'
export { HostError } from './host/opencode.ts'
export { ToolError, type ToolErrorCode } from './tool-error.ts'

export type { ManagerInput, OthersTask } from './manager.ts'
export type { OutputOptions, TaskReport, WaitOptions, WaitResult } from './task-reader.ts'
export type { NamedTools } from './tool-names.ts'
export type { ManagerHooks, NewMessage, PluginEvent } from './hooks.ts'
export type { Client } from './host/opencode.ts'
export type { OptionsInput } from './config.ts'
export type { BudgetUse, Spent } from './task/budget-use.ts'
export type { NextRunOptions } from './launch/continuer.ts'
export type { Reader } from './host/reader.ts'
export type { Receipt } from './parent/history.ts'
export type { NamedByClient } from './parent/headless-hold.ts'
export type { Retry } from './work/agent/provider-backoff.ts'
export type { ShellEnvInput, ShellEnvOutput } from './work/command/shell-env-hooks.ts'
export type { Activity, RunSummary } from './work/agent/transcript.ts'
export type { ReportOptions, WorkReport } from './work/kind.ts'
export type { Work } from './work/work.ts'
export type { LaunchRequest } from './work/agent/agent-launch.ts'
export type {
  AgentWork,
  EarlierRun,
  FleetPlace,
  MachinePlace,
  Place,
  Worktree,
} from './work/agent/agent-work.ts'
export type { CommandRequest } from './work/command/command-launch.ts'
export type { CommandWork } from './work/command/command-work.ts'
export type { CommandOutput, Tail } from './work/command/files.ts'
export type { Stream } from './work/command/logs.ts'
export type { MonitorView } from './work/command/monitoring.ts'
export type { Piece } from './text/pages.ts'
export type { MessageInfo, MessagePart, MessageToRead, TaskMessage, ToolCallState } from './host/message.ts'
export type { TimelineOptions } from './session-timeline/read.ts'
export type {
  Interval,
  Mark,
  MarkType,
  Phase,
  PhaseType,
  RunTimeline,
  SessionTimeline,
  TaskTexts,
  TaskTimeline,
  ToolSpan,
  Turn,
} from './session-timeline/session-timeline.ts'
export type { StepListener, Story } from './timeline.ts'
export type { NewStep, NoticeStep, Step, StepEvent } from './task/step.ts'
export type {
  Answered,
  Applied,
  Budget,
  Changes,
  PermissionRequested,
  End,
  Ended,
  Exit,
  Failure,
  TaskIdentity,
  Incomplete,
  Listening,
  Monitored,
  OutputMatch,
  Started,
  TaskModel,
  TaskState,
  TaskStatus,
  Usage,
} from './task/state.ts'
export type { AgentTask, CommandTask, EndedTask, Task, TaskDefinition, UnfinishedTask } from './task/task.ts'
