/**
 * Completes the tool definitions in the hook `tool.definition`: adds the names of the sub-agents, which only
 * a host call returns, and removes needless words.
 */
import type { BackgroundManager } from '../manager.ts'
import type { Definition } from '../setup/clashes.ts'

export async function completeDefinition(
  manager: BackgroundManager,
  toolID: string,
  definition: Definition,
): Promise<void> {
  if (!definition.jsonSchema) return
  // The host names the dialect in each schema, but no provider needs it.
  const { $schema: _, ...schema } = definition.jsonSchema
  definition.jsonSchema = schema
  const argument = schema.properties?.['agent']
  if (toolID !== manager.toolNames.background_task || !argument) return
  // A throw here would fail the parent's model request: without the names the definition stays unchanged.
  const names = await manager.subagents().catch(() => [])
  if (names.length === 0) return
  const description = `The sub-agent's name: ${names.join(', ')}`
  definition.jsonSchema = {
    ...schema,
    properties: { ...schema.properties, agent: { ...argument, description } },
  }
}
