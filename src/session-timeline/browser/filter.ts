/** Filters the tasks that the page shows. Pure. */
import { endTypeOf } from './words.ts'
import type { TaskTimeline } from '../session-timeline.ts'

/** An empty text filters nothing. */
export interface Criteria {
  readonly search: string
  readonly agent: string
  readonly status: string
  readonly kind: string
}

export const ALL: Criteria = { search: '', agent: '', status: '', kind: '' }

export function matches(task: TaskTimeline, criteria: Criteria): boolean {
  if (criteria.kind !== '' && criteria.kind !== task.kind) return false
  if (criteria.agent !== '' && criteria.agent !== task.agent) return false
  if (criteria.status !== '' && criteria.status !== endTypeOf(task)) return false
  const searched = criteria.search.trim().toLowerCase()
  if (searched === '') return true
  const { id, description, agent = '', model = '', texts } = task
  return [id, description, agent, model, texts?.prompt ?? '', texts?.result ?? ''].some((text) =>
    text.toLowerCase().includes(searched),
  )
}
