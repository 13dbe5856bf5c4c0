/** Finds the name that was probably meant. Pure. */
import leven from 'leven'

/** Returns the name with the shortest edit distance to a text; the first of several. */
export function closest(given: string, [first = '', ...others]: readonly string[]): string {
  return others.reduce((best, name) => (leven(given, name) < leven(given, best) ? name : best), first)
}
