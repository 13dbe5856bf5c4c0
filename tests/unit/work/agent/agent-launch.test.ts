import { expect, test } from 'vitest'
import type { Session } from '../../../../src/host/opencode.ts'
import { agentLaunch } from '../../../../src/work/agent/agent-launch.ts'
import type { Catalogue } from '../../../../src/work/agent/catalogue.ts'
import type { WorktreeRuns } from '../../../../src/worktree/worktree-runs.ts'
import { toolNames } from '../../../../src/tool-names.ts'

test.each([
  { agent: 'writer', isPlanned: true },
  { agent: 'reader', isPlanned: false },
  { agent: 'writer', worktree: false, isPlanned: false },
  { agent: 'reader', worktree: true, isPlanned: true },
])('with an agent of worktree.agents, a call alone decides otherwise: $agent, $worktree', async (row) => {
  const { isPlanned, ...call } = row
  const planned: string[] = []
  const runs = {
    plan: ({ id }: { readonly id: string }) => {
      planned.push(id)
      return Promise.resolve({ root: '/trees/bg_1', checkout: '/project' })
    },
  } as unknown as WorktreeRuns
  const launch = agentLaunch({
    catalogue: {
      agent: (name: string) => Promise.resolve({ name }),
      primaryTools: () => Promise.resolve([]),
    } as unknown as Catalogue,
    names: toolNames(''),
    worktrees: () => Promise.resolve(runs),
    machines: () => Promise.reject(new Error('no machines')),
    isIsolated: (agent) => agent === 'writer',
    budget: {},
    places: [],
    fleetPlaces: [],
  })
  const request = { parentID: 'ses_1', prompt: 'Write', description: 'Write a page', ...call }
  const run = { id: 'bg_1', run: 1, createdAt: 1 }
  const { work } = await launch.prepare(request, run, Promise.resolve({} as Session))
  expect(work.worktree !== undefined).toBe(isPlanned)
  expect(planned).toEqual(isPlanned ? ['bg_1'] : [])
})
