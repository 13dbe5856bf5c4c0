/** Bundles `entry` (default: src/server.ts) into `outdir` (default: dist), and returns the path of the bundle. */
export function build(outdir?: string, entry?: string): Promise<string>
