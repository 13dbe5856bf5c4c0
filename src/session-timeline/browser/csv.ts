/** The table as CSV (RFC 4180). Pure. */

/**
 * Spreadsheets execute a cell that begins like this as a formula: also with the wide forms of East Asian keyboards, after
 * blanks, and with a tab or a carriage return.
 */
const FORMULA = /^\s*[=+\-@＝＋－＠]|^[\t\r]/

export function csvOf(lines: readonly (readonly (string | number)[])[]): string {
  return lines.map((cells) => `${cells.map(cellOf).join(',')}\r\n`).join('')
}

function cellOf(value: string | number): string {
  if (typeof value === 'number') return String(value)
  // A leading apostrophe makes it a text.
  const text = FORMULA.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
