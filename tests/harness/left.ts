/**
 * Registers checks for objects that must not outlive a test, and how to end others. `tests/harness/leaks.ts` runs them after
 * each test, and fails it when a check reports a leak.
 */

/** Resolves with the leaks, in words. */
type Look = () => readonly string[] | Promise<readonly string[]>

const ends: (() => void)[] = []
const afterThisTest = new Set<Look>()
const afterEachTest = new Set<Look>()

/** Registers a check that runs once, at the end of this test. */
export function lookAfterTest(look: Look): void {
  afterThisTest.add(look)
}

/** Ends what this test has started, before its leaks are looked for; the last started is ended first. */
export function endAfterTest(end: () => void): void {
  ends.push(end)
}

/** Registers a check that runs after each test, until the returned function is called. */
export function lookAfterEachTest(look: Look): () => void {
  afterEachTest.add(look)
  return () => afterEachTest.delete(look)
}

/** Resolves with all leaks of the test that has just ended. */
export async function leftOfTest(): Promise<string[]> {
  const looks = [...afterThisTest, ...afterEachTest]
  afterThisTest.clear()
  const left = ends.splice(0).toReversed().flatMap(failureOf)
  for (const look of looks) left.push(...(await look()))
  return left
}

/** Ends something, and returns why it could not. */
function failureOf(end: () => void): string[] {
  try {
    end()
    return []
  } catch (error) {
    return [String(error)]
  }
}
