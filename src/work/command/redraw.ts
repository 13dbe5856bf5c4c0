/** Renders overwritten lines, such as progress bars, as a terminal does. Pure. */

const CARRIAGE_RETURN = 0x0d
const NEWLINE = 0x0a

/**
 * Returns the lines of an output as last drawn, without the text of a line before its last carriage return.
 * The number of newlines does not change; an output without carriage returns is returned as it is.
 */
export function drawnLast(output: Buffer): Buffer {
  if (!output.includes(CARRIAGE_RETURN)) return output
  const lines: Buffer[] = []
  for (let start = 0; start < output.length;) {
    const newline = output.indexOf(NEWLINE, start)
    const next = newline === -1 ? output.length : newline + 1
    lines.push(...drawnLine(output.subarray(start, next)))
    start = next
  }
  return Buffer.concat(lines)
}

/** Ignores carriage returns at the end of a line, because they overwrite nothing. */
function drawnLine(line: Buffer): Buffer[] {
  const newline = line.at(-1) === NEWLINE ? [line.subarray(-1)] : []
  let end = line.length - newline.length
  while (end > 0 && line[end - 1] === CARRIAGE_RETURN) end--
  return [line.subarray(line.subarray(0, end).lastIndexOf(CARRIAGE_RETURN) + 1, end), ...newline]
}
