/** Returns the meaning of an option, for schema and documentation alone: bundles leave it out (`scripts/build.ts`). */
export function meaning(text: string): string | undefined {
  return text
}
