/** The words for each kind of work: a new kind adds its entry. Pure. */
import type { AgentWork, CommandWork, Task, Work } from '../task/task.ts'

interface Words<Kind extends Work> {
  /** The noun for a task of this kind. */
  readonly noun: string
  /** The worker, in a list. */
  readonly worker: (work: Kind) => string
  /** The worker, in a sentence for a model. */
  readonly workerInSentence: (work: Kind) => string
  /** The worker, in the few cells of a sidebar. */
  readonly mark: (work: Kind) => string
  /** The worker, in the title of its session: OpenCode's clients read the agent's name from this form (contract 14.2). */
  readonly titleSuffix: (work: Kind) => string
  /** An end without any text. */
  readonly silentEnd: string
  /** The source of its time limit. */
  readonly limit: (work: Kind) => string
  /** The lines that only this kind has in an answer about a task. */
  readonly lines: (work: Kind) => readonly string[]
}

const AGENT: Words<AgentWork> = {
  noun: 'task',
  worker: ({ agent }) => agent,
  workerInSentence: ({ agent }) => `agent ${agent}`,
  mark: ({ agent }) => agent,
  titleSuffix: ({ agent }) => `@${agent} subagent`,
  silentEnd: 'It ended without any text.',
  limit: () => 'its limit (timeoutMs)',
  lines: ({ agent }) => [`agent: ${agent}`],
}

const COMMAND: Words<CommandWork> = {
  noun: 'command',
  worker: () => 'command',
  workerInSentence: () => 'a command',
  mark: () => '$',
  titleSuffix: () => 'command',
  silentEnd: 'It ended without any output.',
  limit: ({ timeoutIsDefault = false }) =>
    timeoutIsDefault ? 'the default limit: give a timeout, or 0 for none' : 'its limit (timeout)',
  lines: () => [],
}

const WORDS: { readonly [Kind in Work['kind']]: Words<Extract<Work, { kind: Kind }>> } = {
  agent: AGENT,
  command: COMMAND,
}

/** Returns the words for a task, or for work that will become one. */
export function wordsOf<Each extends Work | Task>({ kind }: Each): Words<Each> {
  return WORDS[kind] as unknown as Words<Each>
}
