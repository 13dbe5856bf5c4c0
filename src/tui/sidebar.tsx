/** Shows the tasks of the session in the sidebar; nothing where the session has none. */
import type { TuiPluginApi } from '@opencode-ai/plugin/tui'
import { createMemo, Index, Show } from 'solid-js'
import { sidebarOf, type Row } from './rows.ts'
import { createWatchState } from './use-watch.ts'
import type { Watches } from './watches.ts'

/** The sidebar has 42 columns, including margins and a scroll bar. */
const WIDTH = 36

export function Sidebar(props: { api: TuiPluginApi; watches: Watches; sessionID: string }) {
  const state = createWatchState(() => props.watches.of(props.sessionID), true)
  const sidebar = createMemo(() => sidebarOf(state().views, state().now, WIDTH))
  const theme = () => props.api.theme.current
  return (
    // The root element never changes, because the host recreates the slot for each new one (seen).
    <box visible={sidebar() !== undefined} flexDirection="column">
      <Show when={sidebar()}>
        {(content) => (
          <box flexDirection="column">
            <text fg={theme().text}>
              <b>Background</b>
              <span style={{ fg: theme().textMuted }}> {content().counts}</span>
            </text>
            <Index each={content().rows}>
              {(row) => (
                <TaskRow
                  api={props.api}
                  row={row()}
                  onOpen={() => props.api.route.navigate('session', { sessionID: row().sessionID })}
                />
              )}
            </Index>
            <Show when={content().more}>
              {(more) => (
                <text fg={theme().textMuted} wrapMode="none">
                  {more()}
                </text>
              )}
            </Show>
          </box>
        )}
      </Show>
    </box>
  )
}

function TaskRow(props: { api: TuiPluginApi; row: Row; onOpen: () => void }) {
  const theme = () => props.api.theme.current
  return (
    <box flexDirection="column" onMouseDown={() => props.onOpen()}>
      <box flexDirection="row" width={WIDTH}>
        <text flexShrink={0} fg={theme()[props.row.tone]}>
          {`${props.row.sign} `}
        </text>
        <text flexGrow={1} wrapMode="none" fg={theme().text}>
          {props.row.label}
        </text>
        {/* An empty text would occupy a cell. */}
        <Show when={props.row.time}>
          {(time) => (
            <text flexShrink={0} fg={theme().textMuted}>
              {time()}
            </text>
          )}
        </Show>
      </box>
      <Show when={props.row.detail}>
        {(detail) => (
          <text fg={theme()[props.row.detailTone]} wrapMode="none">
            {`  ${detail()}`}
          </text>
        )}
      </Show>
    </box>
  )
}
