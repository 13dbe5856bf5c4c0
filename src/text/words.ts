/** The words for each kind of work: a new kind adds its entry. Pure. */
import type { AgentWork, CommandWork, Task, Work } from '../task/task.ts'

interface Words<Kind extends Work> {
  /** What a task of this kind is called. */
  readonly noun: string
  /** Who does it, in a list. */
  readonly worker: (work: Kind) => string
  /** The same, in a sentence for a model. */
  readonly workerInSentence: (work: Kind) => string
  /** The same, in the few cells of a sidebar. */
  readonly mark: (work: Kind) => string
  /** Who does it, in the title of its session: OpenCode's clients read the agent's name from this form (contract 14.2). */
  readonly titleSuffix: (work: Kind) => string
  /** An end without any text. */
  readonly silentEnd: string
  /** Where its time limit comes from. */
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
  silentEnd: 'It ended without a word.',
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

/** The words for a task, or for one that is about to be created. */
export function wordsOf<Each extends Work | Task>({ kind }: Each): Words<Each> {
  return WORDS[kind] as unknown as Words<Each>
}
