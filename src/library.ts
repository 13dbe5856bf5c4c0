/**
 * Background tasks for other plugins: the class that this plugin uses itself. Each manager has its own tasks, and
 * knows nothing of those of another, in the same session or elsewhere.
 */
export { BackgroundManager } from './manager.ts'
export type { MessageToRead } from './opencode.ts'
export type {
  ManagerInput,
  NewMessage,
  OutputOptions,
  PluginEvent,
  TaskReport,
  WaitOptions,
  WaitResult,
} from './manager.ts'
export type { OptionsInput } from './config.ts'
export type { Changes } from './continuer.ts'
export type { LaunchRequest } from './launcher.ts'
export type { Activity, Transcript } from './run/transcript.ts'
export type { EndedTask, Failure, Task, TaskModel, TaskStatus, Usage } from './task/task.ts'
export type { Step, Story } from './story.ts'
export { HostError } from './opencode.ts'
export { isEnded } from './task/task.ts'
export { readerOf, type Reader } from './reader.ts'
export { ToolError, type ToolErrorCode } from './tool-error.ts'
