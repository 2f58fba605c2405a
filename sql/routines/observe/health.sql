-- Health: why a queue is not healthy, since when, and the command that fixes it.

create or replace function qctl.health_causes() returns table (cause text, stops text, scope text, danger integer, explains text[])
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with listed (cause, stops, scope, danger, explains) as (
    values ('table_missing', 'delivery', 'queue', 1, '{circuit_open,endpoint_failing,growing,lag,age,depth,failure_rate,silence}'),
           ('capture_broken', 'capture', 'queue', 1, '{silence}'), ('silence', null, 'limit', 1, '{}'),
           -- A copy has no worker, and nothing is captured or delivered there.
           ('unarmed', 'delivery', 'database', 3,
            '{no_worker,secret_missing,address_refused,gone,paused,circuit_open,endpoint_failing,growing,lag,age,depth,failure_rate,silence}'),
           ('schema_outdated', null, 'database', 3, '{}'),
           ('no_worker', 'delivery', 'queue', 3, '{growing,lag,age,depth}'),
           ('secret_missing', 'delivery', 'queue', 3, '{circuit_open,endpoint_failing,growing,lag,age,depth,failure_rate}'),
           ('address_refused', 'delivery', 'queue', 3, '{circuit_open,endpoint_failing,growing,lag,age,depth,failure_rate}'),
           ('gone', 'delivery', 'queue', 3, '{circuit_open,endpoint_failing,growing,lag,age,depth,failure_rate}'),
           ('paused', 'delivery', 'queue', 3, '{circuit_open,endpoint_failing,growing,lag,age,depth,failure_rate}'),
           ('circuit_open', 'delivery', 'queue', 3, '{endpoint_failing,growing,lag,age,depth,failure_rate}'),
           ('dead', null, 'limit', 3, '{}'),
           ('endpoint_failing', null, 'queue', 4, '{growing,lag,age,depth,failure_rate}'),
           ('growing', null, 'queue', 4, '{lag,age,depth}'),
           ('lag', null, 'limit', 4, '{age}'), ('age', null, 'limit', 4, '{}'), ('failure_rate', null, 'limit', 4, '{}'),
           ('depth', null, 'limit', 5, '{}')
  )
  select l.cause, l.stops, l.scope, l.danger, l.explains::text[] from listed l
$$;
comment on function qctl.health_causes() is
  'Every cause that qctl.health() and qctl.check() can report, the worst first, with what it stops (delivery, capture; null: nothing), '
  'its scope (the database, a queue, or a limit of qctl.check()), its danger (1: data is lost; 3: nothing is delivered; 4: slowly; 5: it '
  'will be a problem), and the causes that it explains: beside it they are not reported.';

create or replace function qctl._stops_delivery(p_cause text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from qctl.health_causes() c where c.cause = p_cause and c.stops = 'delivery')
$$;

create or replace function qctl._is_explained(p_cause text, p_by text[]) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from qctl.health_causes() c where c.cause = any (p_by) and p_cause = any (c.explains))
$$;
comment on function qctl._is_explained(text, text[]) is 'True if one of these causes explains the first, so that it is no fault of its own.';

create or replace function qctl._causes(p_queue qctl.queue, p_first boolean, p_workers_seen interval default null) returns setof qctl.cause
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cause qctl.cause;
  v_seen text[] := '{}';
  v_there boolean;
  v_group integer;
begin
  for v_group in 1..7 loop
    v_there := v_group < 6 or not qctl._is_hidden(to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)))
                              and not qctl._is_hidden(to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name)));
    -- What is explained already need not be looked for.
    continue when not v_there or v_group = 6 and qctl._is_explained('endpoint_failing', v_seen) or v_group = 7 and qctl._is_explained('growing', v_seen);
    for v_cause in
      select t.* from qctl._cause_tables(p_queue) t where v_group = 1
      union all select t.* from qctl._cause_capture(p_queue) t where v_group = 1
      union all select t.* from qctl._cause_unarmed() t where v_group = 2
      union all select t.* from qctl._cause_schema() t where v_group = 3
      union all select t.* from qctl._cause_worker(p_queue, p_workers_seen) t where v_group = 4
      union all select t.* from qctl._cause_gate(p_queue) t where v_group = 5
      union all select t.* from qctl._cause_endpoint(p_queue) t where v_group = 6
      union all select t.* from qctl._cause_growing(p_queue) t where v_group = 7
    loop
      continue when qctl._is_explained(v_cause.cause, v_seen);
      v_seen := v_seen || v_cause.cause;
      return next v_cause;
      if p_first then
        return;
      end if;
    end loop;
  end loop;
end
$$;
comment on function qctl._causes(qctl.queue, boolean, interval) is
  'The causes why a queue is not healthy, the worst first, without those that another one explains. With p_first only the first.';

create or replace function qctl.health(p_queue text default null)
returns table (queue_name text, health text, since timestamptz, reason text, fix text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    select v_queue.queue_name, a.cause, a.since, a.reason, a.fix into queue_name, health, since, reason, fix
    from qctl._causes(v_queue, true) a limit 1;
    if not found then
      queue_name := v_queue.queue_name;
      health := 'ok';
      since := null;
      reason := case when qctl._is_hidden(to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)))
                     then format('depth and state of the endpoint are unknown because row level security or a missing privilege hides '
                                 'messages from role %s', current_user) end;
      fix := null;
    end if;
    return next;
  end loop;
end
$$;
comment on function qctl.health(text) is
  'The health of each queue, since when if known, the reason, and the command that fixes it; null if nothing need be typed. Health is the '
  'first that holds of: table_missing (pgmq''s), capture_broken, unarmed, schema_outdated (a worker is newer), no_worker, secret_missing, '
  'address_refused (a worker may not send there), gone (the endpoint answered 410), paused (by a person), circuit_open (the circuit breaker), endpoint_failing (20 % of the attempts in '
  '10 min, or all of the last ones), growing, ok.';

create or replace function qctl.delivery_stop(p_queue text) returns table (cause text, since timestamptz, reason text, fix text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select c.cause, c.since, c.reason, c.fix from qctl._causes(qctl._queue(p_queue), false) c where qctl._stops_delivery(c.cause) limit 1
$$;
comment on function qctl.delivery_stop(text) is
  'Why no message of the queue is delivered now; no row if nothing stops it. Its health may be another, more dangerous cause.';
