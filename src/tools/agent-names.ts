/**
 * The names of the sub-agents, in the description of the argument that wants one: known only once the host is asked,
 * so they come in by the hook `tool.definition`.
 */
import type { BackgroundManager } from '../manager.ts'

/** What the hook is given: the schema as the model will read it (seen; the host's types say less). */
export interface Definition {
  jsonSchema?: { readonly properties?: Readonly<Record<string, object>> }
}

export async function nameAgents(
  manager: BackgroundManager,
  toolID: string,
  definition: Definition,
): Promise<void> {
  const { jsonSchema: schema } = definition
  const argument = schema?.properties?.['agent']
  if (toolID !== 'background_task' || !argument) return
  // A throw here would cost the parent its model request; without the names it is as it was.
  const names = await manager.subagents().catch(() => [])
  if (names.length === 0) return
  const description = `The sub-agent's name: ${names.join(', ')}`
  definition.jsonSchema = {
    ...schema,
    properties: { ...schema.properties, agent: { ...argument, description } },
  }
}
