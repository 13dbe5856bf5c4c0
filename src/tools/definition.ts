/**
 * What the model reads of our tools, as the hook `tool.definition` can still change it: the names of the sub-agents, which
 * are known only once the host is asked, and as few words as possible.
 */
import type { BackgroundManager } from '../manager.ts'
import type { Definition } from '../setup/clashes.ts'

export async function completeDefinition(
  manager: BackgroundManager,
  toolID: string,
  definition: Definition,
): Promise<void> {
  if (!definition.jsonSchema) return
  // The host names the dialect in each schema, and no provider asks for it.
  const { $schema: _, ...schema } = definition.jsonSchema
  definition.jsonSchema = schema
  const argument = schema.properties?.['agent']
  if (toolID !== manager.toolNames.background_task || !argument) return
  // A throw here would cost the parent its model request; without the names it is as it was.
  const names = await manager.subagents().catch(() => [])
  if (names.length === 0) return
  const description = `The sub-agent's name: ${names.join(', ')}`
  definition.jsonSchema = {
    ...schema,
    properties: { ...schema.properties, agent: { ...argument, description } },
  }
}
