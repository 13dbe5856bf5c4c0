/** Parses the command lines of the package's commands. Every function throws a `UsageError` for a mistake. */
import { realpathSync, statSync } from 'node:fs'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { UsageError } from './usage-error.ts'

/** The types of options. */
export const TEXT = { type: 'string' } as const
export const TEXTS = { type: 'string', multiple: true } as const
export const FLAG = { type: 'boolean' } as const

export function parsedLine<Config extends ParseArgsConfig>(
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

interface NumberRange {
  readonly least: number
  readonly mostDigits?: number
  /** As `seconds`. */
  readonly unit?: string
}

export function wholeNumber(
  name: string,
  text: string,
  { least, mostDigits = Infinity, unit }: NumberRange,
): number {
  const isNumber = /^\d+$/.test(text)
  const isTooLong = isNumber && text.length > mostDigits
  if (isNumber && !isTooLong && Number(text) >= least) return Number(text)
  const range = isTooLong ? `at most ${mostDigits} digits` : `at least ${least}`
  const of = unit === undefined ? '' : `of ${unit} `
  throw new UsageError(`--${name} must be a whole number ${of}of ${range}, and not ${JSON.stringify(text)}`)
}

/** Returns the absolute real path of a directory that exists. */
export function realDirectory(name: string, directory: string): string {
  try {
    const path = realpathSync(directory)
    if (statSync(path).isDirectory()) return path
  } catch (error) {
    throw new UsageError(`--${name}: ${directory} cannot be used: ${(error as Error).message}`)
  }
  throw new UsageError(`--${name}: ${directory} is not a directory`)
}
