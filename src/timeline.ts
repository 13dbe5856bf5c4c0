/**
 * Stores the steps of each task, so that "why is it stuck?" has an answer. Bounded: it retains the first and
 * last steps of unfinished tasks and of the last ended ones. Records retain the newest over a restart.
 */
import { machineOf } from './task/place.ts'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from './clock.ts'
import { formatAsked } from './text/format.ts'
import type { Log } from './host/log.ts'
import { errorText, type Part } from './host/opencode.ts'
import { brief } from './text/sanitize.ts'
import { stepText } from './text/step-text.ts'
import { RECORDED_STEPS, type NewStep, type NoticeStep, type Step } from './task/step.ts'
import type { StoreEvent, TaskStore } from './task/store.ts'
import { isEnded, type Task } from './task/task.ts'
import type { TaskEvent } from './task/task-event.ts'

export interface Story {
  readonly steps: readonly Step[]
  /** How many steps after the first ones were dropped. */
  readonly forgotten: number
}

/** Receives each step of a task when it happens, with the task in its new state. */
export type StepListener = (step: Step, task: Task) => void

interface KeptStory {
  /** Columns with a row for each step: most steps of a running agent differ in their times alone. */
  readonly happened: NewStep[]
  readonly at: number[]
  readonly times: number[]
  forgotten: number
  /** The running tool calls: OpenCode repeats the event of a call whenever the call has more output. */
  readonly calls: Set<string>
}

/** The part of the timeline that adds steps. */
export type TimelineWriter = Pick<Timeline, 'add' | 'addNotice'>

/** How many first and last steps of a story are retained. */
const FIRST_STEPS = 20
export const LAST_STEPS = 80
/** Maximum characters of a detail: a whole story must stay below OpenCode's limit (contract 11.7). */
const DETAIL_LENGTH = 140
/** How many ended tasks retain their steps. */
const ENDED_STORIES = 100

export class Timeline {
  readonly #clock: Clock
  readonly #log: Log
  readonly #store: TaskStore
  readonly #stories = new Map<string, KeptStory>()
  /** One step for each tool and state, which all stories share. */
  readonly #toolSteps = new Map<string, NewStep>()
  /** The active tasks whose model has not begun to answer. */
  readonly #silent = new Set<string>()
  /** The ended tasks by the age of their newest step. The steps of the first one are dropped first. */
  readonly #ended = new Set<string>()
  readonly #listeners = new Set<StepListener>()

  constructor(ports: { clock: Clock; log: Log; store: TaskStore }) {
    this.#clock = ports.clock
    this.#log = ports.log
    this.#store = ports.store
  }

  /** Returns the story of a task; `undefined` for a task that is unknown, or has ended long ago. */
  of(taskID: string): Story | undefined {
    const story = this.#stories.get(taskID)
    return story && { steps: stepsOf(story), forgotten: story.forgotten }
  }

  /** Returns the newest steps of a task, for its record. */
  newest(taskID: string): readonly Step[] {
    const story = this.#stories.get(taskID)
    return story ? stepsOf(story, RECORDED_STEPS) : []
  }

  /** Calls the listener with each step from now on. Returns a function that unsubscribes it. */
  subscribe(listener: StepListener): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Inserts the steps of a record before the steps of this process. */
  restore(taskID: string, steps: readonly Step[]): void {
    const { happened, at, times } = this.#keep(taskID)
    happened.unshift(...steps.map(({ at: _at, times: _times, ...step }) => this.#shared(step)))
    at.unshift(...steps.map((step) => step.at))
    times.unshift(...steps.map((step) => step.times))
  }

  /** Adds a step. If the last step is equal, its `times` is incremented instead. */
  add(taskID: string, step: NewStep): void {
    this.#log.debug(`${taskID}: ${stepText(step)}`)
    const story = this.#keep(taskID)
    const { happened, at, times } = story
    const added = this.#shared(briefed(step))
    const now = this.#clock.now()
    if (isDeepStrictEqual(happened.at(-1), added)) times.push((times.pop() ?? 0) + 1)
    else {
      happened.push(added)
      at.push(now)
      times.push(1)
    }
    if (happened.length > FIRST_STEPS + LAST_STEPS) {
      for (const column of [happened, at, times]) column.splice(FIRST_STEPS, 1)
      story.forgotten += 1
    }
    this.#forgetOldest(taskID)
    this.#notifyListeners(taskID, { ...added, at: now, times: 1 })
  }

  addNotice(taskID: string, notice: NoticeStep): void {
    this.add(taskID, { type: 'notice', notice })
  }

  observeTask(task: Task, event: StoreEvent): void {
    if (event.type === 'added') return
    const detail = detailOf(task, event)
    const { status } = task
    this.add(task.id, {
      type: 'transition',
      event: event.type,
      status,
      ...(detail !== undefined && { detail }),
    })
    // OpenCode's answer to the prompt can arrive after the first parts of the turn.
    if (event.type === 'slotTaken') this.#silent.add(task.id)
    if (isEnded(task)) this.#silent.delete(task.id)
  }

  /** Adds steps for the first part of an answer, and for the states of tool calls. */
  observePart(part: Part): void {
    if (part.type !== 'tool' && this.#silent.size === 0) return
    const task = this.#store.findBySession(part.sessionID)
    if (!task) return
    if (this.#silent.has(task.id) && isAnswer(part, task)) {
      this.#silent.delete(task.id)
      this.add(task.id, { type: 'answering' })
    }
    if (part.type !== 'tool' || part.state.status === 'pending') return
    const { status } = part.state
    const { calls } = this.#keep(task.id)
    if (status !== 'running') calls.delete(part.id)
    else if (calls.has(part.id)) return
    else calls.add(part.id)
    this.add(task.id, { type: 'tool', tool: part.tool, state: status })
  }

  #keep(taskID: string): KeptStory {
    const known = this.#stories.get(taskID)
    if (known) return known
    const story = { happened: [], at: [], times: [], forgotten: 0, calls: new Set<string>() }
    this.#stories.set(taskID, story)
    return story
  }

  /** @param taskID the task of the newest step */
  #shared(step: NewStep): NewStep {
    if (step.type !== 'tool') return step
    const key = `${step.state} ${step.tool}`
    const known = this.#toolSteps.get(key)
    if (!known) this.#toolSteps.set(key, step)
    return known ?? step
  }

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

  #notifyListeners(taskID: string, step: Step): void {
    const task = this.#store.get(taskID)
    if (!task) return
    for (const listener of this.#listeners) {
      try {
        listener(step, task)
      } catch (error) {
        this.#log.warn(`a listener of ${taskID} failed: ${errorText(error)}`)
      }
    }
  }
}

/** @param newest how many steps to return; all of them by default */
function stepsOf({ happened, at, times }: KeptStory, newest = happened.length): readonly Step[] {
  const first = Math.max(0, happened.length - newest)
  return happened
    .slice(first)
    .map((step, row) => ({ ...step, at: at[first + row] ?? 0, times: times[first + row] ?? 1 }))
}

function isAnswer(part: Part, task: Task): boolean {
  if ('promptIDs' in task && task.promptIDs.includes(part.messageID)) return false
  return part.type === 'text' || part.type === 'reasoning' || part.type === 'tool'
}

/** Shortens each text of a step to a part of one line. */
function briefed(step: NewStep): NewStep {
  const fields = Object.entries(step).map(([key, value]) => [
    key,
    typeof value === 'string' ? brief(value, DETAIL_LENGTH) : value,
  ])
  return Object.fromEntries(fields) as NewStep
}

function detailOf(task: Task, event: TaskEvent): string | undefined {
  switch (event.type) {
    case 'permissionAsked':
      return formatAsked([event.request])
    case 'outputMatched':
      return event.match.text
    case 'steered':
      return event.why
    case 'monitored':
      return `${event.monitored.matches}`
    case 'listening':
      return `${event.listening.port}`
    case 'ended':
      return task.status === 'failed' ? `${task.failure.reason}: ${task.failure.message}` : undefined
    case 'continued':
      return `${task.run}`
    case 'placed':
    case 'contactLost':
    case 'contactFound':
      return machineOf(task)?.name
    default:
      return undefined
  }
}
