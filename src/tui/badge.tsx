/** Shows beside the prompt how many tasks run, and how many wait for an answer. */
import type { TuiPluginApi } from '@opencode-ai/plugin/tui'
import { createMemo, Show } from 'solid-js'
import { badgeOf } from './rows.ts'
import { createWatchState } from './use-watch.ts'
import type { Watches } from './watches.ts'

export function Badge(props: { api: TuiPluginApi; watches: Watches; sessionID: string }) {
  const state = createWatchState(() => props.watches.of(props.sessionID), false)
  const badge = createMemo(() => badgeOf(state().views))
  const theme = () => props.api.theme.current
  return (
    <Show when={badge()}>
      {(counts) => (
        <box flexDirection="row" gap={1} flexShrink={0}>
          <Show when={counts().waiting}>{(waiting) => <text fg={theme().warning}>{waiting()}</text>}</Show>
          <Show when={counts().running}>{(running) => <text fg={theme().info}>{running()}</text>}</Show>
        </box>
      )}
    </Show>
  )
}
