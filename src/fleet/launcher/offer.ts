/** The offer of a run: its prompt, its limits, and the code from which it starts. Rejects with a `GitError`. */
import type { Opencode } from '../../host/opencode.ts'
import { fleetOf } from '../../task/place.ts'
import { git } from '../../worktree/git.ts'
import { commitsAt, projectsOf, send, startOf } from '../../worktree/transport.ts'
import { payloadOf } from '../payload.ts'
import { jobOf, type FleetTask } from './fleet-task.ts'
import type { Offer } from './jobs.ts'

/** @param remote the one from which workers fetch commits that it has; '': none */
export async function offerOf(
  task: FleetTask,
  remote: string,
  opencode: Pick<Opencode, 'session'>,
): Promise<Offer> {
  const { agent, budget, description, id, model, prompt, run, sessionID, worktree } = task
  const { checkout, directory, root } = worktree
  const commit = await startOf(git, worktree, id)
  const known = remote === '' ? [] : await commitsAt(git, checkout, remote)
  const sent = await send(git, checkout, { id, name: 'in', commit }, known)
  const { permission = [] } = await opencode.session(sessionID)
  const prefix = directory.slice(root.length + 1)
  return {
    id: jobOf(task),
    labels: [...(fleetOf(task)?.labels ?? []), ...(await projectsOf(git, checkout)).slice(0, 1)],
    ...(model && { provider: model.providerID, model: `${model.providerID}/${model.modelID}` }),
    payload: payloadOf({
      taskID: id,
      run,
      agent,
      ...(model && { model }),
      description,
      prompt,
      ...(budget && { budget }),
      denials: permission.flatMap(({ permission: name, pattern, action }) =>
        action === 'deny' ? [{ permission: name, pattern }] : [],
      ),
      code: {
        commit,
        ...(sent.bundle && { bundle: Buffer.from(sent.bundle).toString('base64') }),
        prefix: prefix === '' ? '' : `${prefix.replace(/\/$/, '')}/`,
      },
    }),
  }
}
