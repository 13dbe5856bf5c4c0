/** Prints the rows in several small pictures, because a page break would cut through a picture that is higher than a page. */
import { svg } from './elements.ts'
import type { Row } from './rows.ts'

const SLICE_HEIGHT = 400

interface PrintedRow {
  readonly row: Row
  readonly node: SVGGElement | undefined
}

/**
 * Moves the rows' nodes into pictures.
 *
 * @param shared nodes that are copied into each picture
 */
export function slicesOf(
  printed: readonly PrintedRow[],
  width: number,
  shared: readonly SVGElement[],
): SVGSVGElement[] {
  const slices: PrintedRow[][] = []
  for (const one of printed) {
    const slice = slices.at(-1)
    const top = slice?.[0]?.row.top ?? 0
    if (slice && one.row.top + one.row.height - top <= SLICE_HEIGHT) slice.push(one)
    else slices.push([one])
  }
  return slices.map((slice) => {
    const top = slice[0]?.row.top ?? 0
    const height = slice.reduce((sum, { row }) => sum + row.height, 0)
    return svg(
      'svg',
      { width, height, viewBox: `0 ${top} ${width} ${height}` },
      ...shared.map((node) => node.cloneNode()),
      ...slice.flatMap(({ node }) => node ?? []),
    )
  })
}
