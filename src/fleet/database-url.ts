/**
 * Reads the URL of the fleet's database. It contains a password, so options and command lines only say where it is: a name, or
 * `{env:NAME}`, is an environment variable; anything else is the path of a file that only its owner can read.
 */
import { readFileSync, statSync } from 'node:fs'
import { UsageError } from '../usage-error.ts'

/** The braces are for command lines: in an option, OpenCode would replace them by the URL itself. */
const VARIABLE = /^(?:\{env:(\w+)\}|([A-Za-z_]\w*))$/
/** The permission bits by which others could read a file. */
const OTHERS = 0o077

/** Throws a `UsageError` that says what to do, and never names the URL. */
export function databaseURL(place: string): string {
  const [, braced, bare] = VARIABLE.exec(place) ?? []
  const name = braced ?? bare
  if (name !== undefined) return checked(process.env[name] ?? '', `the environment variable ${name}`)
  if (/^\w+:\/\//.test(place))
    throw new UsageError(
      'the URL of the database has a password: put it in an environment variable, and name that as {env:NAME}',
    )
  const mode = modeOf(place)
  if ((mode & OTHERS) !== 0)
    throw new UsageError(
      `${place} has the password of the database, and others can read it: chmod 600 ${place}`,
    )
  return checked(readFileSync(place, 'utf8').trim(), place)
}

function modeOf(path: string): number {
  try {
    return statSync(path).mode
  } catch (error) {
    throw new UsageError(`the file with the URL of the database cannot be read: ${(error as Error).message}`)
  }
}

function checked(url: string, where: string): string {
  if (url === '') throw new UsageError(`${where} is empty: it must have the URL of the database`)
  if (!URL.canParse(url) || !/^postgres(?:ql)?:$/.test(new URL(url).protocol))
    throw new UsageError(`${where} must have the URL of a PostgreSQL, as postgres://USER:PASSWORD@HOST/NAME`)
  return url
}
