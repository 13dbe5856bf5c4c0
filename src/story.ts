/**
 * What happened to each task, step by step, so that "why is it stuck?" has an answer. In memory alone, and bounded: the
 * record in its session says what must last.
 */
import type { Clock } from './clock.ts'
import { formatAsked } from './format.ts'
import type { Log } from './log.ts'
import type { Part } from './opencode.ts'
import type { TaskStore } from './task/store.ts'
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

/** Who has something to say of a task. */
export type Teller = Pick<Stories, 'tell'>

/** Of a story, its beginning and its end are kept. */
const FIRST_STEPS = 20
export const LAST_STEPS = 80
/** Of how many ended tasks the stories are kept. */
const ENDED_STORIES = 100

export class Stories {
  readonly #clock: Clock
  readonly #log: Log
  readonly #store: TaskStore
  readonly #stories = new Map<string, { steps: Step[]; forgotten: number }>()
  /** The tasks whose model was asked, and has not said anything yet. */
  readonly #silent = new Set<string>()
  /** Whose stories go first: of those that have ended, the one that was told of longest ago. */
  readonly #ended = new Set<string>()

  constructor(ports: { clock: Clock; log: Log; store: TaskStore }) {
    this.#clock = ports.clock
    this.#log = ports.log
    this.#store = ports.store
    ports.store.subscribe((task, event) => this.#changed(task, event))
  }

  /** What is known since this process knows the task; `undefined` for one that is unknown, or has ended long ago. */
  of(taskID: string): Story | undefined {
    return this.#stories.get(taskID)
  }

  /** Adds a step. The same step again counts. */
  tell(taskID: string, what: string): void {
    this.#log.debug(`${taskID}: ${what}`)
    let story = this.#stories.get(taskID)
    if (!story) {
      story = { steps: [], forgotten: 0 }
      this.#stories.set(taskID, story)
    }
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
  sawPart(part: Part): void {
    if (part.type !== 'tool' && this.#silent.size === 0) return
    const task = this.#store.findBySession(part.sessionID)
    if (!task) return
    if (this.#silent.has(task.id) && isAnswer(part, task)) {
      this.#silent.delete(task.id)
      this.tell(task.id, 'the model answers')
    }
    if (part.type !== 'tool' || part.state.status === 'pending') return
    const { status } = part.state
    this.tell(task.id, `tool ${part.tool}: ${status}`)
  }

  #changed(task: Task, event: TaskEvent): void {
    this.tell(task.id, `${event.type}, ${task.status}${detailOf(task, event)}`)
    if (event.type === 'prompted' && task.kind === 'agent') this.#silent.add(task.id)
    if (isEnded(task)) this.#silent.delete(task.id)
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
    this.#stories.delete(oldest)
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
      return `: ${event.sighting.text}`
    case 'ended':
      return task.status === 'failed' ? `: ${task.failure.reason}: ${task.failure.message}` : ''
    case 'continued':
      return `: run ${task.run}`
    default:
      return ''
  }
}
