/** The MCP server of one connection: lists and calls the tools, offers output as resources, and reports ends. */
import {
  inputRequired,
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type CallToolResult,
  type InputRequiredResult,
  type McpRequestContext,
  type ServerCapabilities,
  type ServerContext,
} from '@modelcontextprotocol/server'
import * as z from 'zod'
import { errorText } from '../host/opencode.ts'
import type { Step, StepEvent } from '../task/step.ts'
import { isEnded, type Task } from '../task/task.ts'
import { stepText } from '../text/step-text.ts'
import { ToolError } from '../tool-error.ts'
import { Connection, Question } from './connection.ts'
import { listResources, readResource, urisOf } from './output-resources.ts'
import { detailsOf, handleOf, knowsTasks, TASKS } from './task-handles.ts'
import type { Offer } from './offer.ts'
import { findTask, type Workplace } from './workplace.ts'

export interface Service {
  readonly version: string
  /** The outer bound of working directories, a real path. */
  readonly root: string
  /** The workplace of the commands, then that of the agents if there is one. */
  readonly workplaces: readonly [Workplace, ...Workplace[]]
  readonly offers: readonly Offer[]
  /** Called with a failure of this server, as opposed to a refusal. */
  readonly onError: (message: string) => void
}

/** `modern`: the revision of MCP of 2026, which has no handshake. `legacy`: the earlier ones. */
export type Era = McpRequestContext['era']

/** Only legacy clients get `logging`: in the modern era a log message must belong to a request, and an end belongs to none. */
const capabilitiesOf = (era: Era): ServerCapabilities => ({
  tools: {},
  ...(era === 'legacy' && { logging: {} }),
  resources: { subscribe: true, listChanged: true },
  extensions: { [TASKS]: {} },
})

/** The events of tasks that are reported to the client. */
const TOLD: ReadonlySet<StepEvent> = new Set([
  'prompted',
  'outputMatched',
  'monitored',
  'permissionAsked',
  'permissionReplied',
  'ended',
])

const taskParams = z.object({ taskId: z.string() })

export function createServer(service: Service, era: Era): Server {
  const { offers, workplaces } = service
  const [commands] = workplaces
  const { manager } = commands
  const server = new Server(
    { name: 'opencode-background', version: service.version },
    { capabilities: capabilitiesOf(era) },
  )
  const connection = new Connection({ ...service, server })
  const offerOf = (name: string): Offer | undefined =>
    offers.find(({ definition }) => definition.name === name)

  server.setRequestHandler('tools/list', () => ({
    tools: offers.map(({ definition }) => definition) as never,
  }))
  server.setNotificationHandler('notifications/roots/list_changed', () => connection.rootsChanged())
  server.setRequestHandler('tools/call', async ({ params: { name, arguments: input = {} } }, context) => {
    const offer = offerOf(name)
    if (!offer) {
      const names = offers.map(({ definition }) => definition.name).join(', ')
      const message = `There is no tool ${JSON.stringify(name)}, only ${names}.`
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, message)
    }
    return call(offer, input, context)
  })

  server.setRequestHandler('tasks/get', { params: taskParams }, async ({ taskId }, context) => {
    const reader = offerOf(manager.toolNames.check_background)
    const task = await known(taskId, context)
    const result = await call(reader as Offer, { task_id: task.id }, context)
    return detailsOf(await known(taskId, context), result)
  })
  server.setRequestHandler('tasks/cancel', { params: taskParams }, async ({ taskId }, context) => {
    const task = await known(taskId, context)
    const { manager: owner } = workplaceOf(task)
    // Does not wait for the end, because the client reads it by `tasks/get`.
    if (!isEnded(task)) owner.cancel(task.id).catch((error: unknown) => service.onError(errorText(error)))
    return {}
  })
  // Changes nothing, because our tasks never request input.
  server.setRequestHandler('tasks/update', { params: taskParams }, async ({ taskId }, context) => {
    await known(taskId, context)
    return {}
  })

  server.setRequestHandler('resources/list', async (_, context) => {
    const parentID = await commands.parentID(connection.client(context))
    await manager.recover(parentID)
    return { resources: listResources(manager.list(parentID)) }
  })
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: [] }))
  server.setRequestHandler('resources/read', async ({ params: { uri } }, context) => ({
    contents: [await readResource(manager, await commands.parentID(connection.client(context)), uri)],
  }))
  const subscribed = new Set<string>()
  server.setRequestHandler('resources/subscribe', ({ params: { uri } }) => {
    subscribed.add(uri)
    return {}
  })
  server.setRequestHandler('resources/unsubscribe', ({ params: { uri } }) => {
    subscribed.delete(uri)
    return {}
  })

  // Never unsubscribes, because the process ends with its connection.
  for (const workplace of workplaces) workplace.manager.on(told)
  return server

  /** Notifies the client of an event of a task. */
  function told(step: Step, task: Task): void {
    if (step.type !== 'transition' || !TOLD.has(step.event)) return
    if (step.event === 'prompted') {
      void server.sendResourceListChanged().catch(() => {})
      return
    }
    for (const uri of urisOf(task.id))
      // A client of the modern era subscribes by a request that the SDK answers.
      if (era === 'modern' || subscribed.has(uri)) void server.sendResourceUpdated({ uri }).catch(() => {})
    if (era === 'modern') return
    const data = { task_id: task.id, status: task.status, text: stepText(step) }
    void server.sendLoggingMessage({ level: 'info', logger: 'background', data }).catch(() => {})
  }

  async function call(
    offer: Offer,
    input: unknown,
    context: ServerContext,
  ): Promise<CallToolResult | InputRequiredResult> {
    try {
      const { text, structured, tasks, started } = await offer.call(input, connection.caller(context))
      if (started && knowsTasks(connection.capabilities(context)))
        return handleOf(started) as unknown as CallToolResult
      // The answer contains these ends, so that no notice of them is owed.
      for (const task of tasks) if (isEnded(task)) workplaceOf(task).manager.settle(task)
      return { content: [{ type: 'text', text }], structuredContent: structured }
    } catch (error) {
      if (error instanceof Question)
        return inputRequired({ inputRequests: { [error.key]: error.request }, requestState: error.state })
      if (!(error instanceof ToolError)) service.onError(errorText(error))
      return { isError: true, content: [{ type: 'text', text: errorText(error) }] }
    }
  }

  function workplaceOf({ id }: Task): Workplace {
    return workplaces.find((workplace) => workplace.manager.get(id)) ?? commands
  }

  /** Rejects for a task that this client has not launched, and for a client that does not declare the extension. */
  async function known(taskID: string, context: ServerContext): Promise<Task> {
    if (!knowsTasks(connection.capabilities(context)))
      throw new MissingRequiredClientCapabilityError({
        requiredCapabilities: { extensions: { [TASKS]: {} } },
      })
    const task = await findTask(workplaces, connection.client(context), taskID)
    if (task) return task
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, `There is no task ${taskID}.`)
  }
}
