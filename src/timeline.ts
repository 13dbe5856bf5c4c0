/**
 * What happened to each task, step by step, so that "why is it stuck?" has an answer. In memory alone, and bounded: the
 * record in its session says what must last.
 */
import type { Clock } from './clock.ts'
import { formatAsked } from './text/format.ts'
import type { Log } from './host/log.ts'
import type { Part } from './host/opencode.ts'
import { brief } from './text/sanitize.ts'
import type { StoreEvent, TaskStore } from './task/store.ts'
import { isEnded, type Task, type TaskEvent } from './task/task.ts'

export interface Step {
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly what: string
  /** How often in a row; `at` is that of the first time. */
  readonly times: number
}

export interface Story {
  readonly steps: readonly Step[]
  /** How many more there were behind the first ones. */
  readonly forgotten: number
}

interface KeptStory {
  readonly steps: Step[]
  forgotten: number
  /** The tool calls at work: the host tells of one again whenever it has more output. */
  readonly calls: Set<string>
}

/** Who has something to say of a task. */
export type TimelineWriter = Pick<Timeline, 'add'>

/** Of a story, its beginning and its end are kept. */
const FIRST_STEPS = 20
export const LAST_STEPS = 80
/** Of a step, which is one line, in characters: all of a story must pass below the host's limit (contract 11.7). */
const STEP_LENGTH = 160
/** Of how many ended tasks the steps are kept. */
const ENDED_STORIES = 100

export class Timeline {
  readonly #clock: Clock
  readonly #log: Log
  readonly #store: TaskStore
  readonly #timeline = new Map<string, KeptStory>()
  /** The tasks whose model was asked, and has not said anything yet. */
  readonly #silent = new Set<string>()
  /** Whose steps go first: of those that have ended, the one that was told of longest ago. */
  readonly #ended = new Set<string>()

  constructor(ports: { clock: Clock; log: Log; store: TaskStore }) {
    this.#clock = ports.clock
    this.#log = ports.log
    this.#store = ports.store
  }

  observeTask(task: Task, event: StoreEvent): void {
    if (event.type === 'added') return
    this.add(task.id, `${event.type}, ${task.status}${detailOf(task, event)}`)
    // The host's answer to the prompt may be later than what comes of it.
    if (event.type === 'slotTaken' && task.kind === 'agent') this.#silent.add(task.id)
    if (isEnded(task)) this.#silent.delete(task.id)
  }

  /** What is known since this process knows the task; `undefined` for one that is unknown, or has ended long ago. */
  of(taskID: string): Story | undefined {
    return this.#timeline.get(taskID)
  }

  /** Adds a step. The same step again counts. */
  add(taskID: string, told: string): void {
    this.#log.debug(`${taskID}: ${told}`)
    const what = brief(told, STEP_LENGTH)
    const story = this.#keep(taskID)
    const { steps } = story
    const last = steps.at(-1)
    if (last?.what === what) {
      steps[steps.length - 1] = { ...last, times: last.times + 1 }
      return
    }
    steps.push({ at: this.#clock.now(), what, times: 1 })
    if (steps.length > FIRST_STEPS + LAST_STEPS) {
      steps.splice(FIRST_STEPS, 1)
      story.forgotten += 1
    }
    this.#forgetOldest(taskID)
  }

  /** A part of an answer, as the host tells it. */
  observePart(part: Part): void {
    if (part.type !== 'tool' && this.#silent.size === 0) return
    const task = this.#store.findBySession(part.sessionID)
    if (!task) return
    if (this.#silent.has(task.id) && isAnswer(part, task)) {
      this.#silent.delete(task.id)
      this.add(task.id, 'the model answers')
    }
    if (part.type !== 'tool' || part.state.status === 'pending') return
    const { status } = part.state
    const { calls } = this.#keep(task.id)
    if (status !== 'running') calls.delete(part.id)
    else if (calls.has(part.id)) return
    else calls.add(part.id)
    this.add(task.id, `tool ${part.tool}: ${status}`)
  }

  #keep(taskID: string): KeptStory {
    const known = this.#timeline.get(taskID)
    if (known) return known
    const story = { steps: [], forgotten: 0, calls: new Set<string>() }
    this.#timeline.set(taskID, story)
    return story
  }

  /** @param taskID of whom something was told just now */
  #forgetOldest(taskID: string): void {
    const task = this.#store.get(taskID)
    this.#ended.delete(taskID)
    if (task && !isEnded(task)) return
    this.#ended.add(taskID)
    if (this.#ended.size <= ENDED_STORIES) return
    const [oldest = ''] = this.#ended
    this.#ended.delete(oldest)
    this.#timeline.delete(oldest)
  }
}

function isAnswer(part: Part, task: Task): boolean {
  if (task.kind === 'agent' && task.promptIDs.includes(part.messageID)) return false
  return part.type === 'text' || part.type === 'reasoning' || part.type === 'tool'
}

function detailOf(task: Task, event: TaskEvent): string {
  switch (event.type) {
    case 'asked':
      return `: ${formatAsked([event.request])}`
    case 'saw':
      return `: ${event.sighting.text ?? 'none of its texts'}`
    case 'listens':
      return `: on port ${event.listening.port}, no time limit`
    case 'ended':
      return task.status === 'failed' ? `: ${task.failure.reason}: ${task.failure.message}` : ''
    case 'continued':
      return `: run ${task.run}`
    default:
      return ''
  }
}
