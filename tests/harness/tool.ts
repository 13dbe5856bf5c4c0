/** Calls a tool of ours in a race test, as the parent's model would. */
import { traitsOf } from '../../src/work/kinds.ts'
import { noticeGuidance } from '../../src/tools/notice-guidance.ts'
import { callTool, type Tool, type ToolShape } from '../../src/tools/tool.ts'
import type { Caller, ToolPorts } from '../../src/tools/tool-ports.ts'
import type { FakeStage } from './fake-stage.ts'

/** Returns the text of the answer. Rejects as the tool does. */
export async function callOf<Shape extends ToolShape, Data>(
  { manager, clock, parentID }: Pick<FakeStage, 'manager' | 'clock' | 'parentID'>,
  make: (ports: ToolPorts) => Tool<Shape, Data>,
  input: object = {},
): Promise<string> {
  const tool = make({
    manager,
    now: () => clock.now(),
    guidance: noticeGuidance(manager.toolNames),
    traitsOf,
  })
  // Each permission is granted.
  const caller = { sessionID: parentID, ask: () => Promise.resolve() } as unknown as Caller
  return (await callTool(manager, tool, input, caller)).result.output
}
