/** Confines the working directories of commands to a root, and to the client's roots within it. Paths are real paths. */
import { realpath } from 'node:fs/promises'
import { relative, resolve, isAbsolute, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ToolError } from '../tool-error.ts'

export class Roots {
  /** The directories in which commands may start; the first is the default. */
  readonly #directories: readonly string[]

  private constructor(directories: readonly string[]) {
    this.#directories = directories
  }

  /**
   * Narrows a root to the `file://` roots of a client. If none of them can be read, the whole root is allowed. If all of them are
   * outside of the root, no directory is allowed.
   *
   * @param root an absolute real path
   */
  static async of(root: string, uris: readonly string[]): Promise<Roots> {
    const paths = (await Promise.all(uris.map(realPathOf))).filter((path) => path !== undefined)
    if (paths.length === 0) return new Roots([root])
    const inside = paths.map((path) => (contains(path, root) ? root : path))
    return new Roots([...new Set(inside.filter((path) => contains(root, path)))])
  }

  /** The default working directory. Throws a `ToolError` where none is allowed. */
  get directory(): string {
    const [first] = this.#directories
    if (first !== undefined) return first
    throw new ToolError(
      "The client's roots are outside of the root of this server. Start it with another --root.",
    )
  }

  /**
   * Returns the real path of a working directory. Rejects with a `ToolError` for one outside; a path that does not exist is
   * returned as it is, if it would be inside.
   */
  async confine(given: string): Promise<string> {
    const path = resolve(this.directory, given)
    const real = await realpath(path).catch(() => path)
    if (this.#directories.some((directory) => contains(directory, real))) return real
    throw new ToolError(
      `cwd: ${path} is outside of ${this.#directories.join(', ')}. Nothing was started. Give a directory inside.`,
    )
  }
}

async function realPathOf(uri: string): Promise<string | undefined> {
  try {
    return await realpath(fileURLToPath(uri))
  } catch {
    return undefined
  }
}

function contains(directory: string, path: string): boolean {
  const way = relative(directory, path)
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}
