/** The dialog of /tasks: lists all tasks of a session, with the actions for each. */
import type { TuiPluginApi } from '@opencode-ai/plugin/tui'
import { useTerminalDimensions } from '@opentui/solid'
import { createMemo, createSignal } from 'solid-js'
import { errorText } from '../host/opencode.ts'
import { readingMs } from '../text/format.ts'
import { sanitize } from '../text/sanitize.ts'
import { dependenciesOf } from '../task/dependency.ts'
import type { RequestReply, TaskRequest } from '../task/request.ts'
import type { Task } from '../task/task.ts'
import { traitsOf } from '../work/kinds.ts'
import { choicesFor, openCommandOf, type Action } from './actions.ts'
import { truncate } from './truncate.ts'
import type { Host } from './host.ts'
import { entriesOf, totalOf } from './rows.ts'
import { isUnfinished, treeOf, type TaskView } from './task-view.ts'
import { textOf } from './result-text.ts'
import { createWatchState } from './use-watch.ts'
import type { Watch } from './watch.ts'

export interface DialogPorts {
  readonly api: TuiPluginApi
  readonly host: Host
  readonly watch: Watch
  /** One sentence for each invalid option. */
  readonly problems: readonly string[]
  readonly ask: (task: Task, request: Omit<TaskRequest, 'id' | 'run' | 'answer'>) => Promise<RequestReply>
}

/** The width of the host's `xlarge` dialog, and about how much of it the host uses itself. */
const WIDEST = 116
const MARGINS = 10
/** In cells: the room for a title in the narrower dialogs. */
const TITLE_WIDTH = 50
const CANCEL_ALL = 'all'
const TIMELINE = 'timeline'

export async function openTasks(ports: DialogPorts): Promise<void> {
  const { api } = ports
  if (!(await ports.watch.load())) {
    api.ui.toast({ variant: 'error', message: 'OpenCode did not list the tasks. Try again.' })
    return
  }
  if (ports.watch.views.length === 0) {
    const message = ['This session has no background tasks.', ...ports.problems.map((it) => `option ${it}`)]
    api.ui.toast({ message: message.join('\n') })
    return
  }
  api.ui.dialog.replace(() => <Tasks ports={ports} />)
  // `replace` resets the size.
  api.ui.dialog.setSize('xlarge')
}

function Tasks(props: { ports: DialogPorts }) {
  const { api, watch, problems } = props.ports
  const state = createWatchState(() => watch, true)
  const terminal = useTerminalDimensions()
  const width = (): number => Math.min(WIDEST, terminal().width - 2) - MARGINS
  const options = createMemo(() => {
    const { views, now } = state()
    const unfinished = views.filter(isUnfinished).length
    const entries = entriesOf(views, now, width()).map(({ taskID, ...entry }) => ({
      ...entry,
      value: taskID,
    }))
    const category = 'All'
    const all = { title: `Cancel all ${unfinished}`, value: CANCEL_ALL, category }
    const timeline = { title: 'Timeline', value: TIMELINE, category }
    const bad = problems.map((problem) => ({ title: problem, value: '', category: 'Options in tui.json' }))
    return [...entries, ...(unfinished === 0 ? [] : [all]), timeline, ...bad]
  })
  return (
    <api.ui.DialogSelect
      title={`Background tasks: ${totalOf(state().views)}`}
      placeholder="Filter"
      options={options()}
      onSelect={({ value }) => {
        const view = watch.views.find(({ task }) => task.id === value)
        if (value === CANCEL_ALL) confirmCancelAll(props.ports)
        else if (value === TIMELINE) writeTimeline(props.ports)
        else if (view) openTask(props.ports, view)
      }}
    />
  )
}

/** Offers the actions for the task's current state; fixed, so that none moves under the cursor. */
function openTask(ports: DialogPorts, view: TaskView): void {
  const { api } = ports
  const choices = choicesFor(view)
  api.ui.dialog.replace(() => (
    <api.ui.DialogSelect
      title={truncate(view.task.description, TITLE_WIDTH)}
      options={choices.map(({ title, action }) => ({ title, value: action }))}
      onSelect={({ value }) => act(ports, view, value)}
    />
  ))
  api.ui.dialog.setSize('large')
}

function act(ports: DialogPorts, view: TaskView, action: Action): void {
  const { api, host } = ports
  const { task } = view
  switch (action.type) {
    case 'open':
      if (openCommandOf(task) !== undefined) {
        showOpenCommand(ports, task)
        return
      }
      api.ui.dialog.clear()
      api.route.navigate('session', { sessionID: task.sessionID })
      return
    case 'read':
      toastFailure(ports, read(ports, task))
      return
    case 'continue':
      api.ui.dialog.replace(() => (
        <api.ui.DialogPrompt
          title={truncate(`Message to: ${task.description}`, TITLE_WIDTH)}
          placeholder="Message"
          onConfirm={(prompt) => {
            api.ui.dialog.clear()
            toastFailure(ports, ports.ask(task, { kind: 'continue', prompt }))
          }}
          onCancel={() => api.ui.dialog.clear()}
        />
      ))
      return
    case 'cancel':
      api.ui.dialog.clear()
      toastFailure(ports, cancel(ports, view))
      return
    case 'apply':
      api.ui.dialog.clear()
      toastFailure(ports, confirmApply(ports, task))
      return
    case 'remove':
      confirmRemoval(ports, task)
      return
    case 'copy':
      api.ui.dialog.clear()
      api.renderer.copyToClipboardOSC52(task.id)
      api.ui.toast({ variant: 'info', message: `${task.id} is copied.` })
      return
    case 'answer':
      api.ui.dialog.clear()
      toastFailure(ports, host.reply(action.requestID, action.reply, treeOf(task)?.directory))
  }
}

/** Shows how to open a session that is on another machine. The password of that is in no record. */
function showOpenCommand({ api }: DialogPorts, task: Task): void {
  const title = truncate(task.description, TITLE_WIDTH)
  api.ui.dialog.replace(() => <Reader api={api} title={title} text={openCommandOf(task) ?? ''} />)
  api.ui.dialog.setSize('large')
}

function confirmCancelAll(ports: DialogPorts): void {
  const { api, watch } = ports
  const unfinished = watch.views.filter(isUnfinished)
  api.ui.dialog.replace(() => (
    <api.ui.DialogConfirm
      title={`Cancel all ${unfinished.length}?`}
      message="Their work so far can still be read."
      onConfirm={() => {
        api.ui.dialog.clear()
        void cancelAll(ports, unfinished)
      }}
      onCancel={() => api.ui.dialog.clear()}
    />
  ))
}

/** Has the server part write the timeline of the session, and shows the path of its file. */
function writeTimeline(ports: DialogPorts): void {
  const { api, ask, watch } = ports
  const [view] = watch.views
  api.ui.dialog.clear()
  // The request is about the whole session, but each request stands in the metadata of a task's session.
  if (view) toastFailure(ports, toastSuccess(ports, ask(view.task, { kind: 'timeline' })))
}

/** Shows the files that an apply would write, and writes them after a confirmation. Resolves with the refusal if there is one. */
async function confirmApply(ports: DialogPorts, task: Task): Promise<RequestReply | void> {
  const { api, ask } = ports
  const forecast = await ask(task, { kind: 'check' })
  if (!forecast.ok) return forecast
  api.ui.dialog.replace(() => (
    <api.ui.DialogConfirm
      title="Write its changes into your checkout?"
      message={sanitize(forecast.text)}
      onConfirm={() => {
        api.ui.dialog.clear()
        toastFailure(ports, toastSuccess(ports, ask(task, { kind: 'apply' })))
      }}
      onCancel={() => api.ui.dialog.clear()}
    />
  ))
}

function confirmRemoval(ports: DialogPorts, task: Task): void {
  const { api, ask } = ports
  api.ui.dialog.replace(() => (
    <api.ui.DialogConfirm
      title="Remove its worktree and branch?"
      message={`${treeOf(task)?.branch ?? ''}\nGit keeps its commits: a ref names them.`}
      onConfirm={() => {
        api.ui.dialog.clear()
        toastFailure(ports, toastSuccess(ports, ask(task, { kind: 'remove' })))
      }}
      onCancel={() => api.ui.dialog.clear()}
    />
  ))
}

/** Shows a toast when an action succeeds whose result no view shows. */
async function toastSuccess({ api }: DialogPorts, doing: Promise<RequestReply>): Promise<RequestReply> {
  const answer = await doing
  const { ok, text } = answer
  if (ok) api.ui.toast({ variant: 'info', message: sanitize(text), duration: readingMs(text) })
  return answer
}

/** Aborts the session of an agent at work, as ESC does. The server part cancels all other tasks. */
async function cancel({ host, ask }: DialogPorts, { task, phase }: TaskView): Promise<RequestReply | void> {
  const isElsewhere = 'place' in task && task.place !== undefined
  if (isElsewhere || !traitsOf(task).runsInSession || phase === 'pending')
    return ask(task, { kind: 'cancel' })
  await host.abort(task.sessionID)
}

/** Cancels tasks: first those that wait for others, because the ends of these would end them as failed. */
async function cancelAll(ports: DialogPorts, views: readonly TaskView[]): Promise<void> {
  const isFollower = ({ task }: TaskView): boolean => dependenciesOf(task).length > 0
  const followers = views.filter(isFollower).toReversed()
  const others = views.filter((view) => !isFollower(view))
  for (const group of [followers, others]) {
    const cancels = group.map((view) => cancel(ports, view))
    for (const each of cancels) toastFailure(ports, each)
    await Promise.allSettled(cancels)
  }
}

/** Shows a toast when an action fails; a success is visible in the view. */
function toastFailure({ api }: DialogPorts, doing: Promise<RequestReply | void>): void {
  const run = async (): Promise<void> => {
    try {
      const answer = await doing
      if (answer && !answer.ok) api.ui.toast({ variant: 'warning', message: answer.text })
    } catch (error) {
      api.ui.toast({ variant: 'error', message: errorText(error) })
    }
  }
  void run()
}

/** Opens the reader before the text arrives, so that a late text does not replace a dialog opened since. */
async function read({ api, host, ask }: DialogPorts, task: Task): Promise<void> {
  const [text, setText] = createSignal('…')
  const title = truncate(task.description, TITLE_WIDTH)
  api.ui.dialog.replace(() => <Reader api={api} title={title} text={text()} />)
  api.ui.dialog.setSize('xlarge')
  try {
    setText(sanitize(await textOf(task, host, ask)))
  } catch (error) {
    setText(`✗ ${errorText(error)}`)
    throw error
  }
}

function Reader(props: { api: TuiPluginApi; title: string; text: string }) {
  const theme = () => props.api.theme.current
  const terminal = useTerminalDimensions()
  const height = (): number => Math.max(5, Math.floor(terminal().height / 2))
  return (
    <box flexDirection="column" paddingLeft={2} paddingRight={2} paddingBottom={1} gap={1}>
      <text fg={theme().text}>
        <b>{props.title}</b>
        <span style={{ fg: theme().textMuted }}> esc closes, arrows scroll</span>
      </text>
      <scrollbox height={height()} focused>
        <text fg={theme().text}>{props.text}</text>
      </scrollbox>
    </box>
  )
}
