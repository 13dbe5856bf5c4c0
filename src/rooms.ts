/** Builds each room of a manager once, and passes it the rooms that it needs. Nothing is decided here. */
import { fleetOf } from './task/place.ts'
import type { Options } from './config.ts'
import { observersOf, taskObserver } from './events.ts'
import type { Budgets } from './launch/budgets.ts'
import { Continuer } from './launch/continuer.ts'
import { Launcher } from './launch/launcher.ts'
import { Order } from './launch/order.ts'
import { connect } from './host/calls.ts'
import { errorText } from './host/opencode.ts'
import type { MachineRuns } from './machines/machine-runs.ts'
import { cancelTasksSoon } from './parent/task-cancellation.ts'
import { Parents } from './parent/parents.ts'
import type { Ports } from './ports.ts'
import { Recovery } from './restart/recovery.ts'
import { Requests } from './requests.ts'
import { isRunning, readProcessIdentity } from './work/command/files.ts'
import { attach } from './work/command/process.ts'
import { start } from './work/command/process-start.ts'
import { markTold } from './work/command/retention.ts'
import { CommandRunner } from './work/command/command-runner.ts'
import { Executor } from './work/executor.ts'
import { fleetKind } from './fleet/launcher/fleet-kind.ts'
import type { FleetRuns } from './fleet/launcher/fleet-runs.ts'
import { agentLaunch, ANYWHERE } from './work/agent/agent-launch.ts'
import { Catalogue } from './work/agent/catalogue.ts'
import { commandLaunch } from './work/command/command-launch.ts'
import { PermissionRequests } from './work/agent/permission-requests.ts'
import { ProviderBackoff } from './work/agent/provider-backoff.ts'
import type { KindOf, WorkKinds } from './work/kind.ts'
import { traitsOf } from './work/kinds.ts'
import { Queue } from './work/queue.ts'
import { AgentRunner } from './work/agent/agent-runner.ts'
import type { WorktreeFollower, WorktreeRuns } from './worktree/worktree-runs.ts'
import { ShellEnv } from './work/command/shell-env-hooks.ts'
import type { OrphanReaper } from './work/command/orphan-reaper.ts'
import { StatusPoll } from './host/status-poll.ts'
import { lazily } from './lazily.ts'
import { Timeline } from './timeline.ts'
import { UNNAMED } from './task/owner.ts'
import { TaskRecords } from './task/records.ts'
import { TaskStore } from './task/store.ts'
import { limitsOf } from './task/budget.ts'
import { toolNames, type NamedTools } from './tool-names.ts'
import { isEnded, type Task } from './task/task.ts'
import { waitFor } from './task/wait-for.ts'

export type Rooms = ReturnType<typeof buildRooms>

/** @param tools the tools that notices name, without their prefix */
export function buildRooms(ports: Ports, options: Options, { read, send, kill }: NamedTools = {}) {
  const { opencode, clock, log, owners, machine, server } = ports
  const { toolPrefix } = options
  const names = toolNames(toolPrefix)
  const store = new TaskStore()
  const timeline = new Timeline({ clock, log, store })
  /** Aborted when the instance ends. */
  const disposal = new AbortController()
  const host = { opencode, clock, log, store }
  const statuses = new StatusPoll(host, options.pollMs)
  const catalogue = new Catalogue(opencode)
  const remotes = Object.entries(options.machines)
  const queue = new Queue({
    ...options.concurrency,
    machines: Object.fromEntries(remotes.map(([name, remote]) => [name, remote.slots])),
  })
  const worktrees = lazily(async (): Promise<WorktreeRuns> => {
    const loaded = await import('./worktree/worktree-runs.ts')
    return new loaded.WorktreeRuns(
      {
        ...host,
        machine,
        owners,
        shellEnv,
        processes: { start, attach, isRunning, readProcessIdentity, markTold },
        disposal: disposal.signal,
        places: ports.worktrees,
        follow: followWorktree,
      },
      options,
    )
  })
  const machines = lazily(async (): Promise<MachineRuns> => {
    const loaded = await import('./machines/machine-runs.ts')
    return new loaded.MachineRuns(
      {
        ...host,
        connect,
        worktrees,
        disposal: disposal.signal,
        recorded: ({ sessionID }) => records.written(sessionID),
        observers: () => observersOf(rooms),
        missed: (sessionIDs) => {
          agents.observeGap(sessionIDs)
          permissions.observeGap()
          statuses.pollNow()
        },
      },
      options.machines,
    )
  })
  const followWorktree = async (...of: Parameters<WorktreeFollower>): Promise<void> => {
    const { followSession } = await import('./event-stream.ts')
    await followSession(rooms, ports, ...of)
  }
  const sessionBudget = limitsOf(options.budget.session)
  const budgets = lazily(async (): Promise<Budgets> => {
    const loaded = await import('./launch/budgets.ts')
    return new loaded.Budgets({ ...host, agents, catalogue, executor, parents, records }, sessionBudget)
  })
  /** Loads the bundle that counts budgets, only if the task or its session has a budget. */
  const budgetsFor = (task?: Task): Promise<Budgets> | undefined =>
    sessionBudget || (task && 'budget' in task && task.budget) ? budgets() : undefined
  const checkBudget = (taskID: string): void => {
    const task = store.get(taskID)
    budgetsFor(task)
      ?.then((loaded) => loaded.check(taskID))
      .catch((error: unknown) => log.warn(`${taskID}: its budget could not be checked: ${errorText(error)}`))
  }
  const agents = new AgentRunner(
    {
      ...host,
      statuses,
      timeline,
      worktrees,
      machines,
      queue,
      onStep: checkBudget,
      disposal: disposal.signal,
    },
    options,
  )
  const shellEnv = new ShellEnv(host)
  const commandQueue = new Queue({ total: options.concurrency.commands, providers: {}, models: {} })
  const commands = new CommandRunner(
    { ...host, machine, owners, shellEnv, queue: commandQueue, killTool: kill && toolPrefix + kill },
    {
      ...options.commands,
      toldBytes: options.notify.inlineResultBytes,
      monitorGapMs: options.notify.monitorGapMs,
    },
  )
  const kinds: WorkKinds = { agent: agents, command: commands }
  const fleetPlaces = options.fleet.db === '' ? [] : [...options.fleet.labels, ANYWHERE]
  const named = [...remotes.flatMap(([name, { labels }]) => [name, ...labels]), ...fleetPlaces]
  const places = named.length === 0 ? [] : [...new Set([...named, ANYWHERE])]
  const isIsolated = (agent: string): boolean => options.worktree.agents.includes(agent)
  const launches = {
    agent: agentLaunch({
      catalogue,
      names,
      worktrees,
      machines,
      isIsolated,
      budget: options.budget.task,
      places,
      fleetPlaces,
    }),
    command: commandLaunch,
  }
  let fleetRuns: Promise<FleetRuns> | undefined
  // Loaded lazily, as the panes below.
  const fleet = (): Promise<FleetRuns> =>
    (fleetRuns ??= import('./fleet/launcher/fleet-runs.ts').then(
      (loaded) =>
        new loaded.FleetRuns(
          { ...host, worktrees, openJobs: ports.openJobs, disposal: disposal.signal },
          options,
        ),
    ))
  const atFleet = fleetKind(fleet)
  const kindOf: KindOf = (task) => (fleetOf(task) ? atFleet : kinds[task.kind])
  const executor = new Executor({ clock, store, kindOf, disposal: disposal.signal })
  const backoff = new ProviderBackoff({ clock, store, queue, timeline })
  const permissions = new PermissionRequests({ ...host, statuses }, options)
  const cancelByUser = (taskID: string): Promise<unknown> => executor.cancel(taskID, 'user')
  const parents = new Parents(
    {
      ...host,
      disposal: disposal.signal,
      statuses,
      timeline,
      isService: (task) => kindOf(task).isService?.(task) ?? false,
      isFinishing: (task) => kindOf(task).isFinishing?.(task) ?? false,
      takeMatches: (task) => kindOf(task).takeMatches?.(task),
      onMatchesTold: (task, notices) => kindOf(task).matchesWereTold?.(task, notices),
      onSettled: (task) => kindOf(task).endWasTold?.(task),
      cancel: cancelByUser,
      onInterrupt: ({ tasks }, instanceEnd) => {
        const end = AbortSignal.any([disposal.signal, instanceEnd])
        if (options.onInterrupt === 'cancel') cancelTasksSoon(tasks, clock, end, cancelByUser)
      },
    },
    {
      ...options.notify,
      readTool: read && toolPrefix + read,
      sendTool: send && toolPrefix + send,
      headlessWaitMs: options.headless.waitMs,
      continues: options.afterRestart === 'continue',
    },
  )
  const records = new TaskRecords({ ...host, timeline }, owners.self, sessionBudget?.minutes !== undefined)
  const reaper = lazily(async (): Promise<OrphanReaper> => {
    const loaded = await import('./work/command/orphan-reaper.ts')
    const { killGraceMs } = options.commands
    return new loaded.OrphanReaper({ clock, log, machine, owners, disposal: disposal.signal }, killGraceMs)
  })
  const scanOrphans = async (): Promise<void> => (await reaper()).scan()
  const order = new Order({ clock, store, timeline, executor, kindOf, disposal: disposal.signal })
  const launcher = new Launcher({ budgetsFor, clock, store, timeline, records, parents }, options)
  const recovery = new Recovery({
    ...host,
    scanOrphans,
    timeline,
    owners,
    records,
    parents,
    executor,
    kindOf,
    continues: options.afterRestart === 'continue' && owners.self.name !== UNNAMED,
  })
  const continuer = new Continuer({
    ...host,
    budgets,
    self: owners.self,
    disposal: disposal.signal,
    catalogue,
    records,
    launcher,
    runner: {
      steer: async (task, prompt) => (fleetOf(task) ? await fleet() : agents).steer(task, prompt),
    },
    started: (taskID) => waitFor({ store, clock }, taskID, (task) => task.status !== 'starting'),
    stopped: (taskID) =>
      executor.isStopping(taskID) ? waitFor({ store, clock }, taskID, isEnded) : undefined,
    order,
  })
  if (options.tmux.enabled && server) {
    const runsInSession = (task: Task): boolean =>
      traitsOf(task).runsInSession && !('place' in task && task.place)
    // Loaded lazily, because few users want panes, and each server would read the code at its start.
    import('./panes.ts').then(
      ({ Panes }) =>
        new Panes(
          { ...host, timeline, machine, runsInSession, disposal: disposal.signal },
          server,
          options.tmux,
        ),
      (error: unknown) => log.warn(`tmux: ${errorText(error)}`),
    )
  }
  const requests = new Requests({
    ...host,
    owner: owners.self,
    timeline,
    records,
    recovery,
    executor,
    continuer,
    kindOf,
    machine,
    worktrees,
  })
  store.subscribe(
    taskObserver({ backoff, checkBudget, disposal, order, parents, permissions, records, timeline }),
  )
  const rooms = {
    names,
    shellEnv,
    disposal,
    store,
    timeline,
    catalogue,
    commands,
    kindOf,
    launches,
    agents,
    executor,
    backoff,
    budgetsFor,
    checkBudget,
    permissions,
    records,
    parents,
    recovery,
    requests,
    statuses,
    launcher,
    order,
    continuer,
    isIsolated,
    places,
    worktrees,
  }
  return rooms
}
