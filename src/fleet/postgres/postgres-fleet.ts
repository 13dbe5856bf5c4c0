/** The queue of a fleet in PostgreSQL. `functions.ts` has the functions that these verbs call. */
import { createHash } from 'node:crypto'
import { UsageError } from '../../usage-error.ts'
import type { JobState, Jobs } from '../launcher/jobs.ts'
import { LOST, PROTOCOL, type BeatAnswer, type ClaimAnswer, type Claims } from '../port.ts'
import { Database } from './database.ts'

/** A part of the queue, and the end of its connections. */
type Opened<Part> = Part & { close(): Promise<void> }

/** The columns whose JSON the database does not read. */
interface EndRow {
  readonly result: unknown
  readonly checkpoint: unknown
}

interface StateRow extends EndRow {
  readonly id: string
  /** `bytes`: of an end that is too large to come with the states of other jobs. */
  readonly state: JobState & { readonly bytes?: number }
  readonly report: unknown
}

/** Opens the queue for the role of a launcher. Rejects with an error that says what to do. */
export async function openJobs(url: string): Promise<Opened<Jobs>> {
  const database = await open(url)
  const call = async (text: string, values: readonly unknown[]): Promise<boolean> => {
    const [row] = await database.rows<{ answer: boolean }>(`select ${text} as answer`, values)
    return row?.answer ?? false
  }
  return {
    async offer(job) {
      const { payload, ...rest } = job
      await call('fleet.offer($1::json, $2::json)', [plain(rest), JSON.stringify(payload)])
    },
    async states(ids) {
      const states = new Map<string, JobState>()
      for (const row of await database.rows<StateRow>('select * from fleet.states($1)', [ids])) {
        const { bytes, ...state } = row.state
        // One after another: each has the whole line. One that was acknowledged meanwhile is unknown.
        const [end] =
          bytes === undefined
            ? [row]
            : await database.rows<EndRow>('select * from fleet.end_of($1)', [row.id], bytes)
        if (end) states.set(row.id, stateOf({ ...row, ...end, state }))
      }
      return states
    },
    cancel: (id) => call('fleet.cancel($1)', [id]),
    say: (id, message) => call('fleet.say($1, $2, $3)', [id, message.id, readable(message.text)]),
    async acknowledge(id) {
      await call('fleet.acknowledge($1)', [id])
    },
    watch(onChange, signal) {
      const owner = decodeURIComponent(new URL(url).username)
      database.listen(`fleet_${createHash('md5').update(owner).digest('hex')}`, () => onChange(), signal)
    },
    close: () => database.close(),
  }
}

/** Opens the queue for the role of the workers. Rejects with an error that says what to do. */
export async function openClaims(url: string): Promise<Opened<Claims>> {
  const database = await open(url, 'worker')
  const call = async <Answer>(
    text: string,
    values: readonly unknown[],
    answerBytes?: number,
  ): Promise<Answer> => {
    const [row] = await database.rows<{ answer: Answer }>(`select ${text} as answer`, values, answerBytes)
    return (row as { answer: Answer }).answer
  }
  return {
    claim: (request) => call<ClaimAnswer>('fleet.claim($1::json)', [plain(request)]),
    async payload({ job, fence, payloadBytes }) {
      const payload = await call<object | null>('fleet.payload($1, $2)', [job, fence], payloadBytes)
      if (payload === null) throw new Error(LOST)
      return payload
    },
    beat: ({ job, fence }, { report, checkpoint, ...beat }) =>
      call<BeatAnswer>('fleet.beat($1, $2, $3::json, $4::json, $5::json)', [
        job,
        fence,
        plain(beat),
        json(report),
        json(checkpoint),
      ]),
    settle({ job, fence }, settlement) {
      const { result, ...rest } = { result: undefined, ...settlement }
      const values = [job, fence, plain(rest), json(result)]
      return call<boolean>('fleet.settle($1, $2, $3::json, $4::json)', values)
    },
    watch(onChange, signal) {
      const told = (job: string): void => onChange(job === '' ? { type: 'offered' } : { type: 'asked', job })
      database.listen('fleet_claims', told, signal)
    },
    close: () => database.close(),
  }
}

/** @param who a worker of another protocol is refused by its first claim, whose answer names both versions */
async function open(url: string, who: 'launcher' | 'worker' = 'launcher'): Promise<Database> {
  const database = new Database(url)
  try {
    const [row] = await database.rows<{ protocol: number }>('select fleet.protocol() as protocol')
    if (who === 'launcher' && row?.protocol !== PROTOCOL)
      throw new UsageError(
        `the fleet's database speaks version ${row?.protocol} of the protocol, and this opencode-background version ${PROTOCOL}: install the same version at launchers and workers`,
      )
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

function stateOf({ state, result, checkpoint, report }: Omit<StateRow, 'id'>): JobState {
  if (state.type === 'claimed') return { ...state, report }
  if (state.type === 'waiting') return state
  return { ...state, ...(result !== null && { result }), ...(checkpoint !== null && { checkpoint }) }
}

/** Serializes a value that the database stores without reading it. */
function json(value: object | undefined): string | undefined {
  return value && JSON.stringify(value)
}

/** Serializes a value that the database reads, so that its texts must have no NUL and no half of a surrogate pair. */
function plain(value: object): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'string' ? readable(part) : part))
}

function readable(text: string): string {
  return text.replaceAll('\0', '').replaceAll(/\p{Surrogate}/gu, '\uFFFD')
}
