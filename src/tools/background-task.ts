/** The tool that hands work to another agent. */
import * as z from 'zod'
import type { BackgroundManager } from '../manager.ts'
import { defineTool, type ToolDefinition } from './tool.ts'

const nonEmpty = (what: string): z.ZodString => z.string().trim().min(1, `must not be empty: ${what}`)

export function backgroundTask(manager: BackgroundManager): ToolDefinition {
  return defineTool({
    description:
      'Hand a task to a sub-agent that works in the background, and go on with your own work. Returns at once with a ' +
      'task id. You are told by an automatic notice, with the result, when it is done: do not wait, poll or sleep. ' +
      'Launch independent tasks in one go.',
    args: {
      description: nonEmpty('3–5 words that name the task').describe(
        '3–5 words that name the task, for people',
      ),
      prompt: nonEmpty('say what the agent is to do').describe('The whole task: the agent sees nothing else'),
      agent: nonEmpty('the name of a sub-agent').describe("The sub-agent's name"),
    },
    async execute({ description, prompt, agent }, context) {
      await context.ask({
        permission: 'task',
        patterns: [agent],
        always: ['*'],
        metadata: { description, agent },
      })
      const task = await manager.launch({ parentID: context.sessionID, agent, prompt, description })
      const place = manager.placeInQueue(task.id)
      const status = place === undefined ? 'running' : `pending (number ${place + 1} in the queue)`
      return {
        title: description,
        output: `task_id: ${task.id}\nstatus: ${status}\nagent: ${agent}\ndescription: ${description}`,
        metadata: {
          taskID: task.id,
          sessionID: task.sessionID,
          status: place === undefined ? 'running' : 'pending',
        },
      }
    },
  })
}
