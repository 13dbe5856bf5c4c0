/** Makes the controls of the page, each with its label. */
import { html } from './elements.ts'

/** An empty value stands for the first option. */
export function select(
  name: string,
  values: readonly string[],
  first: string,
  onChange: (value: string) => void,
): HTMLElement {
  const element = html(
    'select',
    {},
    html('option', { value: '' }, first),
    ...values.map((value) => html('option', { value }, value)),
  )
  element.addEventListener('change', () => {
    onChange(element.value)
  })
  return field(name, element)
}

export function field(name: string, control: HTMLElement): HTMLElement {
  control.id = name.toLowerCase()
  return html('div', { class: 'field' }, html('label', { for: control.id }, name), control)
}

export function button(text: string, label: string, onClick: () => void): HTMLButtonElement {
  const element = html('button', { type: 'button', 'aria-label': label, title: label }, text)
  element.addEventListener('click', onClick)
  return element
}
