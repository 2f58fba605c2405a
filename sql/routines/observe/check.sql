-- Check: compares each queue with limits that a monitor sets.

create or replace function qctl.silence(p_queue text default null)
returns table (queue_name text, relation text, silence_s double precision, at_least boolean)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_attached record;
  v_since timestamptz;
  v_seen_from timestamptz;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_attached in
    select q.queue_name, n.nspname, c.relname, a.created_at from qctl.attachment a join qctl.queue q using (queue_id)
    join pg_class c on c.oid = a.relation join pg_namespace n on n.oid = c.relnamespace
    where p_queue is null or q.queue_name = p_queue order by 1, 2, 3
  loop
    continue when qctl._is_hidden(to_regclass(format('pgmq.%I', 'q_' || v_attached.queue_name)))
               or qctl._is_hidden(to_regclass(format('pgmq.%I', 'a_' || v_attached.queue_name)));
    queue_name := v_attached.queue_name;
    relation := format('%I.%I', v_attached.nspname, v_attached.relname);
    execute format($q$
      with newest as (
        (select 1 as place, m.enqueued_at, m.message from pgmq.%1$I m where isfinite(m.enqueued_at) order by m.msg_id desc limit 1000)
        union all (select 2, m.enqueued_at, m.message from pgmq.%2$I m where isfinite(m.enqueued_at) order by m.msg_id desc limit 1000)
        union all (select 3, d.enqueued_at, d.message from qctl.dead_letter d
                   where d.queue_id = (select q.queue_id from qctl.queue q where q.queue_name = $3) and isfinite(d.enqueued_at)
                   order by d.msg_id desc limit 1000)
      )
      select (select max(n.enqueued_at) from newest n where n.message ->> 'table' = $2 and coalesce(n.message ->> 'schema', $1) = $1),
             (select max(p.oldest) from (select min(n.enqueued_at) as oldest from newest n group by n.place having count(*) = 1000) p)
    $q$, 'q_' || v_attached.queue_name, 'a_' || v_attached.queue_name)
    into v_since, v_seen_from using v_attached.nspname, v_attached.relname, v_attached.queue_name;
    at_least := v_since is null and v_seen_from is not null;
    silence_s := extract(epoch from clock_timestamp() - coalesce(v_since, greatest(v_seen_from, v_attached.created_at)));
    return next;
  end loop;
end
$$;
comment on function qctl.silence(text) is
  'Seconds since each attachment last captured a change, by the newest 1,000 messages of queue, archive and dead letters. If none of them '
  'is from the attachment, silence_s counts from the oldest of them or from the attach; at_least is true if older messages may exist.';

create or replace function qctl._limits(
  p_queue qctl.queue, p_max_lag_s double precision, p_max_age_s double precision, p_max_depth bigint, p_max_dead bigint,
  p_max_failure_rate double precision, p_max_silence_s double precision)
returns table (cause text, problem text, value double precision, "limit" double precision)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_depth record;
  v_lag record;
begin
  select * into v_depth from qctl._depth(p_queue.queue_name, least(greatest(p_max_depth, p_max_dead, 0), 10000000) + 1);
  if v_depth.depth > p_max_depth and not v_depth.exact then
    -- An exact count is worth its cost only when the limit is exceeded.
    select * into v_depth from qctl.depth(p_queue.queue_name);
  end if;
  select * into v_lag from qctl.lag(p_queue.queue_name);
  return query
  -- Whether and how to come below a limit is for a person to decide, so each says only where to look.
  select m.cause, format('%s; see: %s', m.problem, m.see), m.value, m."limit"
  from (values
    ('lag', 'waiting time of the oldest ready message', v_lag.lag_s, p_max_lag_s, 'qctl status --workers'),
    ('age', 'age of the oldest unfinished message', v_lag.age_s, p_max_age_s, format('qctl messages -q %s --attempted', p_queue.queue_name)),
    ('depth', 'unfinished messages', greatest(v_depth.depth, v_depth.estimate), p_max_depth, 'qctl scale -q ' || p_queue.queue_name),
    ('dead', 'dead letters', v_depth.dead, p_max_dead, 'qctl dead -q ' || p_queue.queue_name),
    ('failure_rate', 'of the attempts in the last 10 min failed', qctl._failure_rate(p_queue), p_max_failure_rate,
     format('qctl tail -q %s --failed -n 10', p_queue.queue_name))
  ) as m (cause, problem, value, "limit", see)
  where m.value > m."limit";
  if p_max_silence_s is not null then
    return query
    select 'silence', format('since the last captured change of %s; see: qctl verify', s.relation), s.silence_s, p_max_silence_s
    from qctl.silence(p_queue.queue_name) s where s.silence_s > p_max_silence_s;
  end if;
end
$$;
comment on function qctl._limits(qctl.queue, double precision, double precision, bigint, bigint, double precision, double precision) is
  'The limits that a queue exceeds.';

create or replace function qctl.check(
  p_queue text default null, p_max_lag_s double precision default 60, p_max_age_s double precision default 900,
  p_max_depth bigint default null, p_max_dead bigint default null, p_max_failure_rate double precision default 0.2,
  p_max_silence_s double precision default null, p_workers_seen_s double precision default null, p_ignore text[] default '{}')
returns table (queue_name text, cause text, since timestamptz, problem text, value double precision, "limit" double precision, fix text)
language plpgsql volatile security definer
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
    return query
    with found as materialized (
      select c.cause, c.since, c.reason as problem, null::double precision as value, null::double precision as "limit", c.fix
      from qctl._causes(v_queue, false, make_interval(secs => p_workers_seen_s)) c
      union all
      select l.cause, null, l.problem, l.value, l."limit", null
      from qctl._limits(v_queue, p_max_lag_s, p_max_age_s, p_max_depth, p_max_dead, p_max_failure_rate, p_max_silence_s) l
    ), seen as materialized (
      -- What is ignored excuses its consequences if it stops something, but no depth that has a limit of its own.
      select array_agg(f.cause) filter (where f.cause <> all (p_ignore) or c.stops is not null) as excuses,
             array_agg(f.cause) filter (where f.cause <> all (p_ignore)) as told
      from found f join qctl.health_causes() c on c.cause = f.cause
    )
    select v_queue.queue_name, f.cause, f.since, f.problem, f.value, f."limit", f.fix
    from found f cross join seen s join qctl.health_causes() with ordinality as c (cause, stops, scope, danger, explains, place) on c.cause = f.cause
    where f.cause <> all (p_ignore) and not qctl._is_explained(f.cause, case f.cause when 'depth' then s.told else s.excuses end)
    order by c.place, f.problem;
  end loop;
end
$$;
comment on function qctl.check(text, double precision, double precision, bigint, bigint, double precision, double precision, double precision, text[]) is
  'Every problem of the queues: the causes that qctl.health() knows, and the limits that are exceeded (null: no limit), without those that '
  'another one explains (see qctl.health_causes). The failure rate needs at least 10 attempts within 10 min. With p_workers_seen_s '
  'a worker that ended within that time is not missed yet, because a deployment starts it again. p_ignore: causes to leave '
  'out, with what they explain. No rows: no problem.';

create or replace function qctl.findings(
  p_queue text default null, p_max_lag_s double precision default null, p_max_age_s double precision default null,
  p_max_depth bigint default null, p_max_dead bigint default null, p_max_failure_rate double precision default null,
  p_max_silence_s double precision default null, p_workers_seen_s double precision default null, p_ignore text[] default '{}')
returns table (queues text[], cause text, danger integer, since timestamptz, problem text, value double precision, "limit" double precision, fix text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(distinct f.queue_name), f.cause, c.danger, min(f.since), min(f.problem), max(f.value), f."limit",
         case when count(distinct f.fix) = 1 then min(f.fix)
              when f.cause = 'no_worker' and f.fix_of_all is not null then
                'qctl worker ' || case when array_agg(distinct f.queue_name) @> array(select q.queue_name from qctl.queue q where q.transport = 'http')
                                       then '--all' else '-q ' || string_agg(distinct f.queue_name, ' -q ') end
              else string_agg(distinct f.fix, ' && ') end
  from (select k.*, substring(k.fix from '^qctl worker ') as fix_of_all
        from qctl.check(p_queue, p_max_lag_s, p_max_age_s, p_max_depth, p_max_dead, p_max_failure_rate, p_max_silence_s, p_workers_seen_s, p_ignore) k) f
  join qctl.health_causes() with ordinality as c (cause, stops, scope, danger, explains, place) on c.cause = f.cause
  -- What follows the first clause is of one queue: its next probe, its last answer.
  group by f.cause, c.danger, c.place, split_part(f.problem, '; ', 1), f."limit", f.fix_of_all
  order by c.danger, c.place, count(*) desc, 1
$$;
comment on function qctl.findings(text, double precision, double precision, bigint, bigint, double precision, double precision, double precision, text[]) is
  'What qctl.check() finds, one row for each fault however many queues it concerns, the most dangerous first. fix: one command line for '
  'all of them; null: it ends by itself, and nothing need be typed. Without arguments: no limits.';
