/** Cuts labels to a width, because SVG does not. */

const FONT_FAMILY = '"Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
/** Longer texts are cut before they are measured, because no label is so wide. */
const LONGEST = 200

let context: CanvasRenderingContext2D | null | undefined
const fitted = new Map<string, string>()

export function fit(text: string, width: number, size = 12): string {
  const key = `${size} ${Math.round(width)} ${text.slice(0, LONGEST)}`
  const known = fitted.get(key)
  if (known !== undefined) return known
  const cut = cutTo(text.slice(0, LONGEST).replaceAll(/\s+/g, ' '), width, size)
  fitted.set(key, cut)
  return cut
}

function cutTo(text: string, width: number, size: number): string {
  context ??= document.createElement('canvas').getContext('2d')
  if (!context) return text.slice(0, Math.floor(width / size / 0.6))
  context.font = `${size}px ${FONT_FAMILY}`
  if (context.measureText(text).width <= width) return text
  const characters = Array.from(text)
  let [low, high] = [0, characters.length]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (context.measureText(`${characters.slice(0, middle).join('').trimEnd()}…`).width <= width) low = middle
    else high = middle - 1
  }
  return `${characters.slice(0, low).join('').trimEnd()}…`
}
