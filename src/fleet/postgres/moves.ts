/** The functions that write the phase of a job, and the sweep, which moves on what was lost. No role may call them. */
import { COUNTED, DEFINER, HELD, NOW, QUEUE, QUEUE_SCHEMA } from './sql-terms.ts'

export const MOVES = `
-- Writes the phase of a job into the row of pg-boss, and wakes its launcher, or the workers.
create or replace function fleet.show(j fleet.job) returns void ${DEFINER} as $$
begin
  update ${QUEUE_SCHEMA}.job q set
    state = (case
      when j.phase = 'waiting' and j.failures = 0 then 'created'
      when j.phase = 'waiting' then 'retry'
      when j.phase in ${COUNTED} then 'active'
      when j.ending = 'result' then 'completed'
      when j.ending = 'cancelled' then 'cancelled'
      else 'failed' end)::${QUEUE_SCHEMA}.job_state,
    retry_count = j.failures,
    started_on = case when j.phase in ${COUNTED} then coalesce(q.started_on, ${NOW}) else q.started_on end,
    heartbeat_on = j.beat_at,
    completed_on = j.ended_at
    where q.name = '${QUEUE}' and q.id = j.entry;
  perform pg_notify('fleet_' || md5(j.owner), '');
  if j.phase in ('waiting', 'ended') then perform pg_notify('fleet_claims', ''); end if;
end $$;

create or replace function fleet.end_job(at_entry uuid, how text, given json, reason text) returns void ${DEFINER} as $$
declare
  j fleet.job;
begin
  update fleet.job set phase = 'ended', ending = how, result = given, why = reason, ended_at = ${NOW}
    where entry = at_entry returning * into j;
  perform fleet.show(j);
end $$;

create or replace function fleet.unstarted(at_entry uuid) returns void ${DEFINER} as $$
begin
  update fleet.job set worker = null, checkpoint = null where entry = at_entry;
  perform fleet.end_job(at_entry, 'cancelled', null, 'it was cancelled before its agent was prompted');
end $$;

-- Has a job wait again that was not started, or ends it after too many failures.
create or replace function fleet.give_back(j fleet.job, reason text) returns void ${DEFINER} as $$
declare
  s fleet.setting;
begin
  select * into s from fleet.setting;
  if j.cancel_asked_at is not null then perform fleet.unstarted(j.entry);
  elsif j.failures + 1 >= s.attempts then
    update fleet.job set failures = j.failures + 1 where entry = j.entry;
    perform fleet.end_job(j.entry, 'failed', null,
      format('its agent was never prompted: %s claims came to nothing; the last, of worker %s: %s',
        j.failures + 1, j.worker, reason));
  else
    perform fleet.wait_again(j, format('worker %s could not start it: %s', j.worker, reason));
    update fleet.job set failures = failures + 1, avoided = j.worker,
      avoided_until = ${NOW} + s.retry_ms * interval '1 ms' where entry = j.entry returning * into j;
    perform fleet.show(j);
  end if;
end $$;

create or replace function fleet.wait_again(j fleet.job, why_again text) returns void ${DEFINER} as $$
begin
  update fleet.job set phase = 'waiting', note = why_again, worker = null, identity = null, process = null,
    lease_until = null, report = null, checkpoint = null where entry = j.entry returning * into j;
  perform fleet.show(j);
end $$;

-- Ends a job whose agent may have been prompted, without its result.
create or replace function fleet.interrupt(j fleet.job, reason text) returns void ${DEFINER} as $$
begin
  perform fleet.end_job(j.entry, case when j.cancel_asked_at is null then 'failed' else 'cancelled' end, null, reason);
end $$;

create or replace function fleet.cancel_unseen(j fleet.job) returns void ${DEFINER} as $$
begin
  perform fleet.end_job(j.entry, 'cancelled', null,
    format('it was cancelled, but worker %s was lost: its agent stops when that worker notices', j.worker));
end $$;

-- Moves on what was lost. Whoever asks the queue runs it, so that no process of its own has to.
create or replace function fleet.sweep() returns void ${DEFINER} as $$
declare
  s fleet.setting;
  j fleet.job;
begin
  select * into s from fleet.setting;
  for j in select * from fleet.job where phase in ${HELD} and lease_until <= ${NOW} for update skip locked loop
    if j.phase = 'starting' then perform fleet.give_back(j, 'it was not heard of any more');
    elsif j.cancel_asked_at is not null then perform fleet.cancel_unseen(j);
    else
      -- While the database was away, no worker could be back in time.
      update fleet.job set phase = 'lapsed',
        resume_until = greatest(lease_until, pg_postmaster_start_time()) + s.resume_ms * interval '1 ms'
        where entry = j.entry;
    end if;
  end loop;
  for j in select * from fleet.job where phase = 'lapsed' and resume_until <= ${NOW} for update skip locked loop
    perform fleet.interrupt(j, format('worker %s was lost, and did not come back in time', j.worker));
  end loop;
  delete from fleet.job where phase = 'forgotten' and ended_at < ${NOW} - interval '7 days';
  with old as (
    delete from fleet.job where phase = 'ended' and ended_at < ${NOW} - interval '30 days' returning entry
  ) delete from ${QUEUE_SCHEMA}.job where name = '${QUEUE}' and id in (select entry from old);
end $$;
`
