/** The nodes of the visible rows, and of the active one: a picture of many tasks has few nodes. */
import { setAttributes, svg } from './elements.ts'
import { RowView, type Scene } from './row-view.ts'
import type { Row } from './rows.ts'

/** How many nodes of rows that were scrolled away are kept. */
const SPARE = 50

/** The indices of the first and last visible row, and of the active one. */
interface Shown {
  readonly first: number
  readonly last: number
  readonly active: number
}

export class ShownRows {
  readonly node = svg('g', { role: 'presentation' })
  #rows: readonly Row[] = []
  /** The position of each row, from 1, without the headings of groups. */
  #positions: ReadonlyMap<Row, number> = new Map()
  readonly #views = new Map<number, RowView>()
  #spare: RowView[] = []

  /** Has other rows from now on, none of which is drawn yet. */
  show(rows: readonly Row[]): void {
    this.clear()
    this.#rows = rows
    this.#positions = new Map(
      rows.filter(({ type }) => type !== 'group').map((row, index) => [row, index + 1]),
    )
  }

  clear(): void {
    for (const index of this.#views.keys()) this.#release(index)
  }

  nodeOf(index: number): SVGGElement | undefined {
    return this.#views.get(index)?.node
  }

  draw({ first, last, active }: Shown, scene: Scene): void {
    for (const index of this.#views.keys())
      if ((index < first || index > last) && index !== active) this.#release(index)
    for (let index = first; index <= last; index += 1) this.#draw(index, index === active, scene)
    if (active < first || active > last) this.#draw(active, true, scene)
  }

  #draw(index: number, isActive: boolean, scene: Scene): void {
    const row = this.#rows[index]
    if (!row) return
    let view = this.#views.get(index)
    if (!view) {
      view = this.#spare.pop() ?? new RowView()
      this.#views.set(index, view)
      this.node.append(view.node)
    }
    view.draw(row, scene)
    const position = this.#positions.get(row)
    setAttributes(view.node, {
      id: `row-${index}`,
      'aria-selected': position && String(isActive),
      'aria-setsize': position && this.#positions.size,
      'aria-posinset': position,
      'data-active': isActive ? '' : undefined,
    })
  }

  #release(index: number): void {
    const view = this.#views.get(index)
    if (!view) return
    view.node.remove()
    this.#views.delete(index)
    this.#spare = [...this.#spare, view].slice(-SPARE)
  }
}
