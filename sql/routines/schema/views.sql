-- Views for people who use SQL: one over all queues, and one for each queue.

create or replace function qctl._queue_status(p_queue text default null)
returns table (queue_name text, health text, depth bigint, ready bigint, delayed bigint, in_flight bigint, retrying bigint, dead bigint,
               lag_s double precision, age_s double precision, delivered_1m bigint, failed_1m bigint, last_error text,
               paused_at timestamptz, paused_by text, pause_reason text, url text, transport text,
               since timestamptz, reason text, fix text, depth_exact boolean, depth_estimate bigint, dead_1m bigint,
               delivered_1h bigint, failed_1h bigint, dead_1h bigint, p50_s double precision, p95_s double precision,
               growth_per_s double precision, drain_s double precision, last_delivered_at timestamptz, last_failed_at timestamptz)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select q.queue_name, h.health, d.depth, d.ready, d.delayed, d.in_flight, d.retrying, d.dead, l.lag_s, l.age_s,
         r.delivered_1m, r.failed_1m, r.last_error, g.paused_at, g.paused_by, g.pause_reason, q.url, q.transport,
         h.since, h.reason, h.fix, d.exact, d.estimate, r.dead_1m, r.delivered_1h, r.failed_1h, r.dead_1h, r.p50_s, r.p95_s,
         w.per_s, case when d.depth = 0 or f.is_known then w.drain_s end, r.last_delivered_at, r.last_failed_at
  from qctl.queue q
  join qctl.gate g using (queue_id)
  left join lateral qctl.health(q.queue_name) h on true
  left join lateral qctl._depth(q.queue_name) d on true
  left join lateral qctl.lag(q.queue_name) l on true
  left join lateral qctl.rates(q.queue_name) r on true
  left join lateral qctl._growth(q, d.depth, d.exact, d.estimate) w on true
  -- How fast a queue drained tells nothing while it is not delivered, or while most of it waits for a time.
  cross join lateral (select d.ready + d.in_flight >= d.retrying + d.delayed and h.health <> 'endpoint_failing'
                             and case h.health when 'capture_broken' then not exists (select from qctl.delivery_stop(q.queue_name))
                                               else not qctl._stops_delivery(h.health) end as is_known) f
  where p_queue is null or q.queue_name = p_queue
$$;

create or replace view qctl.status as
select queue_name, health, depth, ready, delayed, in_flight, retrying, dead, lag_s, age_s, delivered_1m, failed_1m, last_error,
       paused_at, paused_by, pause_reason, url, transport, since, reason, fix, depth_exact, depth_estimate, dead_1m, delivered_1h,
       failed_1h, dead_1h, p50_s, p95_s, growth_per_s, drain_s, last_delivered_at, last_failed_at
from qctl._queue_status();
comment on view qctl.status is
  'One row per queue: health with since, reason and the command that fixes it; depth by state, lag and age; attempts of the last minute '
  'and hour by outcome; p50 and p95 of the time from enqueued to delivered; growth_per_s, and drain_s, which is null where it cannot be known. Depth is counted to 10,000, otherwise as in '
  'qctl.depth(); null where this role may not read the queue.';

create or replace function qctl._make_status_view(p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grantee record;
  v_owner name := (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'qctl');
begin
  if exists (select from pg_class c where c.relnamespace = 'qctl'::regnamespace and c.relname = p_queue || '_status'
             and not pg_has_role(c.relowner, 'usage')) then
    return;
  end if;
  -- The view reads a function, so no view depends on pgmq's tables and upgrades of pgmq can change them.
  execute format('create or replace view qctl.%I as select * from qctl.messages(%L, p_limit => 1000)', p_queue || '_status', p_queue);
  execute format('comment on view qctl.%I is %L', p_queue || '_status',
                 'The newest 1,000 messages of the queue with their state and last attempt. For more or others: qctl.messages().');
  if v_owner <> current_user then
    execute format('alter view qctl.%I owner to %I', p_queue || '_status', v_owner);
  end if;
  for v_grantee in select g.role_name from qctl.grantee g join pg_roles r on r.rolname = g.role_name loop
    execute format('grant select on qctl.%I to %I', p_queue || '_status', v_grantee.role_name);
  end loop;
end
$$;
comment on function qctl._make_status_view(text) is 'Creates the status view of a queue, for people in an SQL editor.';

-- The view of 0.6.0 read this function.
drop function if exists qctl._status(text);
