/**
 * What must not outlive a test. Whoever makes something that could, says here how to find out; `tests/harness/leaks.ts`
 * asks after each test, and fails it.
 */

/** Resolves with what is left, in words. */
type Look = () => readonly string[] | Promise<readonly string[]>

const afterThisTest = new Set<Look>()
const afterEachTest = new Set<Look>()

/** For what was made in a test: it is looked at when that ends. */
export function lookAfterTest(look: Look): void {
  afterThisTest.add(look)
}

/** For what several tests share: it is looked at after each, until the function returned is called. */
export function lookAfterEachTest(look: Look): () => void {
  afterEachTest.add(look)
  return () => afterEachTest.delete(look)
}

/** Resolves with all that is left of the test that has just ended. */
export async function leftOfTest(): Promise<string[]> {
  const looks = [...afterThisTest, ...afterEachTest]
  afterThisTest.clear()
  const left: string[] = []
  for (const look of looks) left.push(...(await look()))
  return left
}
