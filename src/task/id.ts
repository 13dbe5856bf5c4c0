/**
 * Ids of this plugin. Task ids are random. Message and part ids are computed from a key, so that a notice
 * that is made again has the same id, also after a restart.
 */
import { createHash, randomBytes } from 'node:crypto'

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const DIGEST_LENGTH = 14

export function newTaskID(): string {
  return `bg_${randomBytes(4).toString('hex')}`
}

/** Returns a message id for `key` that sorts by `at` (ms since the Unix epoch) among the host's ids. */
export function messageID(key: string, at: number): string {
  return hostID('msg', key, at)
}

interface RunOfTask {
  readonly id: string
  readonly run: number
}

/** Returns the id of the message that starts a run. */
export function newPromptID({ id, run }: RunOfTask, at: number): string {
  return messageID(`prompt ${id} ${run}`, at)
}

/** Returns a random id for a message that steers a run, because several can have the same `at`. */
export function newSteerID({ id, run }: RunOfTask, at: number): string {
  return messageID(`prompt ${id} ${run} ${randomBytes(8).toString('hex')}`, at)
}

/** Returns the id of the message that warns an agent that its budget is nearly spent. `budget`: the key of the budget. */
export function newBudgetSteerID(taskID: string, budget: string, at: number): string {
  return messageID(`budget ${taskID} ${budget}`, at)
}

/** Whether two ids of messages were computed from one key, at whatever times. */
export function haveSameKey(one: string, other: string): boolean {
  return one.slice(-DIGEST_LENGTH) === other.slice(-DIGEST_LENGTH)
}

export function partID(key: string, at: number): string {
  return hostID('prt', key, at)
}

/** Returns the section of a part's id that depends on its key alone. */
export function keyDigestIn(idOfPart: string): string {
  return idOfPart.slice(-DIGEST_LENGTH)
}

/** Returns the section that `key` has in a part's id. */
export function keyDigest(key: string): string {
  return digestOf('prt', key)
}

/** Returns an id as the host's: prefix, 12 hexadecimal digits of time, 14 base-62 characters (contract 4.17). */
function hostID(prefix: 'msg' | 'prt', key: string, at: number): string {
  const time = BigInt.asUintN(48, BigInt(at) * 4096n)
    .toString(16)
    .padStart(12, '0')
  return `${prefix}_${time}${digestOf(prefix, key)}`
}

function digestOf(prefix: 'msg' | 'prt', key: string): string {
  const digest = createHash('sha256').update(`${prefix} ${key}`).digest().subarray(0, DIGEST_LENGTH)
  return Array.from(digest, (byte) => BASE62[byte % 62]).join('')
}
