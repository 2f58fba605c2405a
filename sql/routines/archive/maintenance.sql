-- Maintenance: periodic work, run by a pg_cron job, or by qctl worker where pg_cron is not available.

create or replace function qctl._maintenance_deadline(p_for interval) returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select statement_timestamp() + least(p_for, (
    select make_interval(secs => s.setting::integer / 1000.0) - interval '2 s' from pg_settings s
    where s.name = 'statement_timeout' and s.setting <> '0'))
$$;

create or replace function qctl._before(p_deadline timestamptz, p_place qctl.purge_place) returns boolean
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select p_place.after is not null and clock_timestamp() < p_deadline
$$;

create or replace function qctl._queues_to_collect() returns setof integer
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select distinct f.queue_id from qctl.in_flight f
  where f.request_id is not null and (f.lapsed_at is null or f.lapsed_at > clock_timestamp() - interval '10 min')
$$;
comment on function qctl._queues_to_collect() is
  'The queues with pg_net requests that may still be answered, whatever their present transport is.';

create or replace function qctl._upkeep_steps() returns table (place integer, step text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select u.place::integer, u.step from unnest(array[
    'clock', 'lapse', 'roll_up', 'samples', 'order', 'held', 'jobs', 'forget_dedup', 'forget_retries', 'forget_attempts', 'forget_audit',
    'forget_small', 'sweep']) with ordinality as u (step, place)
$$;
comment on function qctl._upkeep_steps() is 'The steps of the maintenance before retention, in order.';

create or replace function qctl._upkeep_begin() returns setof text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cut text[];
begin
  -- A step that a timeout or a crash ended before its end comes last this time, so it does not keep the others from their turn.
  with cut as (
    update qctl.upkeep_step s
    set running_pid = null, failed_since = coalesce(s.failed_since, clock_timestamp()), failed_at = clock_timestamp(), sqlstate = '57014',
        error = 'it did not come to its end: statement_timeout, or the session ended'
    where s.running_pid is not null
      and (s.running_pid = pg_backend_pid()
           or not exists (select from pg_stat_activity a where a.pid = s.running_pid and a.state is distinct from 'idle'))
    returning s.step
  )
  select array_agg(c.step) into v_cut from cut c;
  return query select s.step from qctl._upkeep_steps() s order by s.step = any (coalesce(v_cut, '{}')), s.place;
end
$$;

create or replace function qctl._upkeep_mark(p_step text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into qctl.upkeep_step as s (step, running_pid) values (p_step, pg_backend_pid())
  on conflict (step) do update set running_pid = excluded.running_pid
$$;

create or replace function qctl._do_upkeep_step(p_step text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  v_more boolean := false;
  v_state text;
begin
  begin
    case p_step
      when 'clock' then perform qctl._look_at_clock();
      when 'lapse' then perform qctl.upkeep();
      when 'roll_up' then perform qctl._roll_up();
      when 'samples' then perform qctl._take_samples();
      when 'order' then perform qctl._sweep_order();
      when 'held' then perform qctl._release_all_held();
      -- What a person switched off stays off.
      when 'jobs' then perform qctl._plan_jobs(false) where qctl._owns_jobs();
      when 'forget_dedup' then v_more := qctl._forget_dedup_keys() >= 10000;
      when 'forget_retries' then v_more := qctl._forget_retries() >= 1000;
      when 'forget_attempts' then v_more := qctl._forget_attempts() >= 1000;
      when 'forget_audit' then v_more := qctl._forget_audit() >= 10000;
      when 'forget_small' then perform qctl._forget_small();
      when 'forget_log' then v_more := qctl._retain_log() > 0;
      when 'sweep' then perform qctl._sweep();
    end case;
    update qctl.upkeep_step s set running_pid = null, failed_since = null, failed_at = null, sqlstate = null, error = null where s.step = p_step;
  exception when others then
    v_state := sqlstate;
    update qctl.upkeep_step s
    set running_pid = null, failed_since = coalesce(s.failed_since, clock_timestamp()), failed_at = clock_timestamp(), sqlstate = v_state,
        error = left(sqlerrm, 500)
    where s.step = p_step;
    v_more := false;
  end;
  return v_more;
end
$$;
comment on function qctl._do_upkeep_step(text) is
  'Does a limited portion of one step of the maintenance; true if it has more to do now. An error is kept in qctl.upkeep_step and stops no other step.';

-- A SET clause would forbid COMMIT, so this procedure has none and qualifies every name.
create or replace procedure qctl.maintenance(p_for interval default '50 s')
language plpgsql
as $$
declare
  v_deadline pg_catalog.timestamptz := qctl._maintenance_deadline(p_for);
  v_place qctl.purge_place;
  v_item pg_catalog.record;
begin
  for v_item in select c.id from qctl._queues_to_collect() as c (id) loop
    perform qctl._work_review(v_item.id);
    commit;
  end loop;
  for v_item in select b.step from qctl._upkeep_begin() as b (step) loop
    perform qctl._upkeep_mark(v_item.step);
    commit;
    while qctl._do_upkeep_step(v_item.step) and pg_catalog.clock_timestamp() operator(pg_catalog.<) v_deadline loop
      commit;
    end loop;
    commit;
  end loop;
  for v_item in select r.name from qctl._due_retention() as r (name) loop
    v_place := null;
    loop
      v_place := qctl._retain(v_item.name, v_place);
      commit;
      exit when not qctl._before(v_deadline, v_place);
    end loop;
    exit when v_place.after is not null;
  end loop;
  -- After the messages, whose attempts it deletes.
  perform qctl._upkeep_mark('forget_log');
  commit;
  while qctl._do_upkeep_step('forget_log') and pg_catalog.clock_timestamp() operator(pg_catalog.<) v_deadline loop
    commit;
  end loop;
  perform qctl._retention_done(v_place);
  commit;
end
$$;
comment on procedure qctl.maintenance(interval) is
  'Collects answers of pg_net that no job collects, does the steps of qctl._upkeep_steps(), and deletes messages older than the retention. Run it every minute. p_for: the time limit for deleting.';
