/**
 * The fleet in a database, as SQL. All state changes in functions of the role `fleet_owner`: each verb of the port is one call, so
 * that a client that dies or loses its connection leaves no transaction and no lock behind. Launchers and workers may call
 * functions, and change no table; a launcher is known by `session_user`, which no client can choose.
 *
 * The rows of pg-boss (schema `fleet_queue`) are the queue: order, delay, attempts, states and heartbeats, and of a job only its id.
 * The table `fleet.job` holds the contents of a job. Its `phase` alone decides; `fleet.show` writes the row of pg-boss in the same transaction.
 * Limits are counted from the phases under the lock of claims: no counter can leak a slot.
 *
 * The phases, and what moves a job between them, are those of `tests/fleet-model/rules.ts`.
 */
import { LAUNCHER_FUNCTIONS } from './launcher-functions.ts'
import { MOVES } from './moves.ts'
import { COUNTED, DEFINER, NOW } from './sql-terms.ts'
import { WORKER_FUNCTIONS } from './worker-functions.ts'

/** Creates the functions, or replaces those of an earlier version; run as `fleet_owner`. Can be repeated. */
export const FUNCTIONS = `${MOVES}
create or replace function fleet.protocol() returns int stable ${DEFINER} as $$
begin
  return (select protocol from fleet.setting);
end $$;
${LAUNCHER_FUNCTIONS}${WORKER_FUNCTIONS}
create or replace function fleet.status() returns json ${DEFINER} as $$
declare
  sees_all boolean := pg_has_role(session_user, 'fleet_worker', 'member') or pg_has_role(session_user, 'fleet_owner', 'member');
begin
  perform fleet.sweep();
  return json_build_object(
    'workers', (select coalesce(json_agg(json_build_object('name', w.name, 'protocol', w.protocol,
        'labels', to_json(w.labels), 'slots', w.slots, 'inUse', (select count(*) from fleet.job j
          where j.phase in ${COUNTED} and j.worker = w.name),
        'silentMs', round(extract(epoch from ${NOW} - w.beat_at) * 1000)) order by w.name), '[]')
      from fleet.worker w),
    'waiting', (select count(*) from fleet.job where phase = 'waiting'),
    'working', (select count(*) from fleet.job where phase in ${COUNTED}),
    'untold', (select count(*) from fleet.job where phase = 'ended'),
    'owners', (select coalesce(json_agg(o order by o.owner), '[]') from (select owner,
        count(*) filter (where phase = 'waiting') as waiting,
        count(*) filter (where phase in ${COUNTED}) as working,
        count(*) filter (where phase = 'ended') as untold
      from fleet.job where phase <> 'forgotten' and (sees_all or owner = session_user) group by owner) o),
    'limits', (select coalesce(json_agg(json_build_object('scope', c.scope, 'key', c.key, 'most', c.most, 'inUse',
        (select count(*) from fleet.job j where j.phase in ${COUNTED} and case c.scope when 'total' then true
          when 'provider' then j.provider = c.key else j.model = c.key end)) order by c.scope desc, c.key), '[]')
      from fleet.cap c),
    'backoffs', (select coalesce(json_agg(json_build_object('provider', b.provider,
        'forMs', round(extract(epoch from b.until - ${NOW}) * 1000)) order by b.provider), '[]')
      from fleet.backoff b where b.until > ${NOW}));
end $$;

revoke all on all functions in schema fleet from public;
grant usage on schema fleet to fleet_launcher, fleet_worker;
grant select on fleet.job, fleet.message to fleet_launcher;
grant execute on function fleet.protocol(), fleet.status() to fleet_launcher, fleet_worker;
grant execute on function fleet.offer(json, json), fleet.cancel(text), fleet.say(text, text, text),
  fleet.acknowledge(text), fleet.states(text[]), fleet.end_of(text) to fleet_launcher;
grant execute on function fleet.claim(json), fleet.payload(uuid, bigint), fleet.beat(uuid, bigint, json, json, json),
  fleet.settle(uuid, bigint, json, json)
  to fleet_worker;
`
