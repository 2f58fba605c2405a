-- Views for people who look with SQL.

create or replace view qctl.status as
select q.queue_name, qctl.health(q.queue_id) as health, d.depth, d.ready, d.delayed, d.in_flight, d.retrying, d.dead,
       l.lag_s, l.age_s,
       a.delivered_1m, a.failed_1m, last.error as last_error,
       coalesce(g.paused_at, held.since) as paused_at,
       case when g.paused_at is not null then g.paused_by when held.since is not null then 'qctl' end as paused_by,
       case when g.paused_at is not null then g.pause_reason else held.reason end as pause_reason,
       q.url, q.transport
from qctl.queue q
join qctl.gate g using (queue_id)
left join lateral (
  select s.net_held_since as since, s.net_held_reason as reason from qctl.scheduler s where q.transport = 'pg_net'
) held on true
left join lateral qctl.depth(q.queue_name) d on true
left join lateral qctl.lag(q.queue_name) l on true
cross join lateral (
  select count(*) filter (where t.outcome = 'delivered') as delivered_1m,
         count(*) filter (where t.outcome in ('retrying', 'dead', 'paused')) as failed_1m
  from qctl.attempt t where t.queue_id = q.queue_id and t.settled_at > now() - interval '1 minute'
) a
left join lateral (
  select coalesce(t.error, 'HTTP ' || t.status_code) as error from qctl.attempt t
  where t.queue_id = q.queue_id and t.settled_at > now() - interval '1 hour'
    and t.outcome <> 'delivered' and t.outcome in ('retrying', 'dead', 'paused')
  order by t.settled_at desc limit 1
) last on true;
comment on view qctl.status is 'One row per queue: health, depth by state, lag and age.';
