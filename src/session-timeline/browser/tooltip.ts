/** Shows details beside the pointer. A screen reader gets them from the row's label. */
import { html } from './elements.ts'

const GAP = 14

export class Tooltip {
  readonly node = html('div', { class: 'tooltip', 'aria-hidden': 'true', hidden: '' })

  show([title = '', ...lines]: readonly string[], x: number, y: number): void {
    this.node.replaceChildren(html('strong', {}, title), ...lines.map((line) => html('div', {}, line)))
    this.node.hidden = false
    const { width, height } = this.node.getBoundingClientRect()
    const left = x + GAP + width > innerWidth ? x - GAP - width : x + GAP
    const top = y + GAP + height > innerHeight ? y - GAP - height : y + GAP
    this.node.style.left = `${Math.max(4, left)}px`
    this.node.style.top = `${Math.max(4, top)}px`
  }

  hide(): void {
    this.node.hidden = true
  }
}
