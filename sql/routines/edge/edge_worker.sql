-- What an edge worker calls beside claim, settle and release: it begins by a wake, reports and ends.

create or replace function qctl.begin_edge_worker(p_wake_id uuid, p_name text, p_version text, p_pooled boolean, p_carriers text[] default '{http}')
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_worker_id bigint;
begin
  -- A signature stays valid for 5 min, but a wake begins one worker.
  update qctl.edge_wake k set used_at = clock_timestamp(), pooled = p_pooled
  where k.wake_id = p_wake_id and k.used_at is null and k.sent_at > clock_timestamp() - interval '5 min'
    and exists (select from qctl.edge_function e where e.stopped_at is null);
  if not found then
    return null;
  end if;
  insert into qctl.worker (name, transport, queues, qctl_version, role_name, carriers)
  values (left(p_name, 200), 'http', '{}', p_version, session_user, p_carriers) returning worker_id into v_worker_id;
  update qctl.edge_wake k set worker_id = v_worker_id where k.wake_id = p_wake_id;
  return v_worker_id;
end
$$;
comment on function qctl.begin_edge_worker(uuid, text, text, boolean, text[]) is
  'Registers the worker that a wake begins. Null if no such wake was sent within 5 min or a worker began by it already.';

create or replace function qctl.edge_heartbeat(p_worker_id bigint, p_queues text[], p_claimed bigint, p_cpu_ms bigint)
returns table (alive boolean, goes_on boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update qctl.edge_wake k set claimed = p_claimed, cpu_ms = p_cpu_ms where k.worker_id = p_worker_id;
  alive := qctl.heartbeat(p_worker_id, p_queues);
  goes_on := alive and coalesce((select e.stopped_at is null from qctl.edge_function e), false)
             and (select count(*) from qctl._edge_workers() w where w.worker_id < p_worker_id) < (select e.most from qctl.edge_function e);
  return next;
end
$$;
comment on function qctl.edge_heartbeat(bigint, text[], bigint, bigint) is
  'As qctl.heartbeat(bigint, text[]), with the messages claimed and the CPU time used so far. goes_on is false when it is to end: the '
  'function was stopped, or fewer workers are to run.';

create or replace function qctl.end_edge_worker(p_worker_id bigint, p_reason text, p_claimed bigint, p_cpu_ms bigint) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform qctl.unregister_worker(p_worker_id);
  update qctl.edge_wake k set ended_at = clock_timestamp(), reason = left(p_reason, 100), claimed = p_claimed, cpu_ms = p_cpu_ms
  where k.worker_id = p_worker_id and k.ended_at is null;
  begin
    return qctl.wake_edge();
  exception when others then
    -- The job wakes the next one.
    return sqlerrm;
  end;
end
$$;
comment on function qctl.end_edge_worker(bigint, text, bigint, bigint) is
  'Ends an edge worker, and wakes the next one if messages are ready. Returns what qctl.wake_edge() says.';
