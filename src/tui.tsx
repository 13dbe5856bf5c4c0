/**
 * The TUI part of the plugin: shows the tasks of the session in the sidebar, a badge beside the prompt, the
 * dialog of /tasks. It uses only the API, because OpenCode may run on another machine (`opencode attach`).
 */
import type { TuiPluginApi, TuiPluginModule } from '@opencode-ai/plugin/tui'
import { systemClock } from './clock.ts'
import { readingMs } from './text/format.ts'
import { readRecord } from './task/record.ts'
import { VIEW_COMMAND } from './task/request.ts'
import { ask } from './tui/ask.ts'
import { Badge } from './tui/badge.tsx'
import { parseTuiOptions } from './tui/config.ts'
import { hostOf } from './tui/host.ts'
import { Sidebar } from './tui/sidebar.tsx'
import { openTasks, type DialogPorts } from './tui/tasks-dialog.tsx'
import { Watches } from './tui/watches.ts'

/** The export that OpenCode expects, declared here for the reason in `server.ts`. */
interface TuiPlugin {
  readonly id: string
  readonly tui: (api: never, options: Record<string, unknown> | undefined, meta: never) => Promise<void>
}

const PLUGIN = 'opencode-background'
const COMMAND = 'background.tasks'
/** The position in the sidebar: below the context, above the rest. */
const ORDER = 150

const TOLD = [
  'session.created',
  'session.updated',
  'session.deleted',
  'session.status',
  'message.part.updated',
  'permission.asked',
  'permission.replied',
] as const

const plugin = {
  id: PLUGIN,
  tui(api, options) {
    const clock = systemClock
    const host = hostOf(api)
    const onSessionUpdated = (handler: Parameters<typeof api.event.on<'session.updated'>>[1]) =>
      api.event.on('session.updated', handler)
    const askServer: DialogPorts['ask'] = (task, request) =>
      ask({ host, clock, onSessionUpdated }, task, request)
    const watches = new Watches(
      {
        host,
        clock,
        directory: () => api.state.path.directory,
        refreshRecords: (task) => askServer(task, { kind: 'look' }),
      },
      (toast) => api.ui.toast({ title: 'Background', ...toast }),
    )
    const { options: own, problems } = parseTuiOptions(options)
    if (problems.length > 0) {
      const message = problems.map((problem) => `option ${problem}`).join('\n')
      api.ui.toast({ title: PLUGIN, variant: 'warning', message, duration: readingMs(message) })
    }
    const stopAnnouncing = api.event.on('session.created', ({ properties: { info } }) => {
      if (!readRecord(info)) return
      stopAnnouncing()
      // Without this command the server part reports that the view is missing.
      host.publishCommand(VIEW_COMMAND, info.directory).catch(() => {})
    })
    const stops = [
      stopAnnouncing,
      ...TOLD.map((type) => api.event.on(type, (event) => watches.handleEvent(event))),
      // After a lost connection or a restart of the instance.
      api.event.on('server.connected', () => watches.reload()),
    ]
    api.slots.register({
      order: ORDER,
      slots: {
        sidebar_content: (_, props) => <Sidebar api={api} watches={watches} sessionID={props.session_id} />,
        session_prompt_right: (_, props) => (
          <Badge api={api} watches={watches} sessionID={props.session_id} />
        ),
      },
    })
    const open = (): void => {
      const sessionID = rootOf(api)
      if (sessionID === undefined) {
        api.ui.toast({ message: 'Open a session first: background tasks belong to one.' })
        return
      }
      void openTasks({ api, host, watch: watches.of(sessionID), ask: askServer, problems })
    }
    const stopLayer = api.keymap.registerLayer({
      commands: [
        {
          namespace: 'palette',
          name: COMMAND,
          title: 'Background tasks',
          desc: 'The background tasks of this session',
          category: 'Background',
          slashName: 'tasks',
          run: open,
        },
      ],
      bindings: own.key === false ? [] : [{ key: own.key, cmd: COMMAND }],
    })
    api.lifecycle.onDispose(() => {
      for (const stop of [...stops, stopLayer]) stop()
      watches.dispose()
    })
    return Promise.resolve()
  },
} satisfies TuiPluginModule

/** Returns the displayed session, or its parent where it is a child session. */
function rootOf({ route, state }: TuiPluginApi): string | undefined {
  const { current } = route
  const sessionID = current.name === 'session' ? current.params?.['sessionID'] : undefined
  return typeof sessionID === 'string' ? (state.session.get(sessionID)?.parentID ?? sessionID) : undefined
}

export default plugin as TuiPlugin
