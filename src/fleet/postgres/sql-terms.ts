/** The SQL terms that tables and functions share. */

/** The queue of pg-boss that has the jobs. */
export const QUEUE = 'jobs'
/** The schema of pg-boss. */
export const QUEUE_SCHEMA = 'fleet_queue'

/** The lock that claims hold while they count. */
export const CLAIMS_LOCK = `pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('fleet.claims', 0))`
/** Takes the lock of claims until the end of the transaction. */
export const CLAIMS_LOCKED = `select ${CLAIMS_LOCK}`
export const DEFINER = `language plpgsql security definer set search_path = pg_catalog, pg_temp`
export const NOW = 'pg_catalog.clock_timestamp()'
/** The phases in which a worker has a lease, and those in which a job takes up room. */
export const HELD = `('starting', 'prompted', 'resumed')`
export const COUNTED = `('starting', 'prompted', 'resumed', 'lapsed')`
