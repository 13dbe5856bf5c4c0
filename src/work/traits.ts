/**
 * The traits of a kind of work: its schema for the record, its words for the texts and the terminal UI. `kind.ts` is the seam
 * to the code that does the work.
 */
import type { ZodMiniObject } from 'zod/mini'
import type { EndedTask, Task } from '../task/task.ts'
import type { Work } from './work.ts'

export interface Traits<Each extends Work> {
  /** The fields of the work in the record. */
  readonly schema: ZodMiniObject
  /**
   * Whether OpenCode does the work in the child session: then its status shows that the work runs, its messages
   * show the result, and its abort stops the work. Otherwise the record shows the start, and only the server
   * part can read the output and stop the work.
   */
  readonly runsInSession: boolean
  /** Whether the option `maxTasksPerSession` limits how many a parent can have. */
  readonly isLimited: boolean
  /** The program that ends this work when it exits, as a subject in a sentence. */
  readonly host: string
  /** The noun for a task of this kind. */
  readonly noun: string
  /** The worker, in a list. */
  readonly worker: (work: Each) => string
  /** The worker, in a sentence for a model. */
  readonly workerInSentence: (work: Each) => string
  /** The worker, in the few cells of a sidebar. */
  readonly mark: (work: Each) => string
  /** The worker, in the title of its session: OpenCode's clients read the agent's name from this form (contract 14.2). */
  readonly titleSuffix: (work: Each) => string
  /** The sentence of a notice about an end without any text. */
  readonly silentEnd: string
  /** The source of its time limit. */
  readonly limit: (work: Each) => string
  /** The lines that only this kind has in an answer about a task. */
  readonly lines: (work: Each) => readonly string[]
  /** The attributes of the notice of an end. `how`: the attributes that all kinds have. */
  readonly endAttributes: (
    task: EndedTask & Each,
    how: Readonly<Record<string, string>>,
  ) => Readonly<Record<string, string>>
  /** The lines that only this kind has in the notice of an end, and in an answer about it. */
  readonly endLines: (task: EndedTask & Each) => readonly string[]
  /** An explanation of an end that would mislead a model; `undefined` for none. */
  readonly endHint: (task: EndedTask & Each) => string | undefined
  /** What a running task does, in the terminal UI. `activity`: as the session shows it. */
  readonly runningDetail: (task: Task & Each, activity: string | undefined) => string | undefined
  /** The actions of the terminal UI that read its result, and that stop it. */
  readonly actions: { readonly read: string; readonly stop: string }
}
