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
  v_cause qctl.cause;
  v_depth record;
  v_lag record;
  v_excused boolean;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    v_excused := false;
    for v_cause in select * from qctl._causes(v_queue, false, make_interval(secs => p_workers_seen_s)) loop
      -- If a cause that stops delivery is ignored, its consequences are ignored too.
      v_excused := v_excused or v_cause.cause = any (p_ignore) and qctl._stops_delivery(v_cause.cause);
      continue when v_excused and v_cause.cause = 'growing';
      return query select v_queue.queue_name, v_cause.cause, v_cause.since, v_cause.reason, null::double precision,
                          null::double precision, v_cause.fix
      where not v_cause.cause = any (p_ignore);
    end loop;
    select * into v_depth from qctl._depth(v_queue.queue_name, least(greatest(p_max_depth, p_max_dead, 0), 10000000) + 1);
    if v_depth.depth > p_max_depth and not v_depth.exact then
      -- An exact count is worth its cost only when the limit is exceeded.
      select * into v_depth from qctl.depth(v_queue.queue_name);
    end if;
    select * into v_lag from qctl.lag(v_queue.queue_name);
    return query
    select v_queue.queue_name, m.cause, null::timestamptz, m.problem, m.value, m."limit", m.fix
    from (values
      ('lag', 'waiting time of the oldest ready message', v_lag.lag_s, p_max_lag_s, 'qctl status --workers'),
      ('age', 'age of the oldest unfinished message', v_lag.age_s, p_max_age_s,
       format('qctl messages -q %s --retrying', v_queue.queue_name)),
      ('depth', 'unfinished messages', greatest(v_depth.depth, v_depth.estimate), p_max_depth, 'qctl scale -q ' || v_queue.queue_name),
      ('dead', 'dead letters', v_depth.dead, p_max_dead, 'qctl dead -q ' || v_queue.queue_name),
      ('failure_rate', 'of the attempts in the last 10 min failed', qctl._failure_rate(v_queue), p_max_failure_rate,
       format('qctl tail -q %s --failed', v_queue.queue_name))
    ) as m (cause, problem, value, "limit", fix)
    where m.value > m."limit" and not m.cause = any (p_ignore) and not (v_excused and m.cause in ('lag', 'age'));
    if p_max_silence_s is not null and not 'silence' = any (p_ignore) then
      return query
      select v_queue.queue_name, 'silence', null::timestamptz, 'since the last captured change of ' || s.relation, s.silence_s,
             p_max_silence_s, 'qctl verify'
      from qctl.silence(v_queue.queue_name) s where s.silence_s > p_max_silence_s;
    end if;
  end loop;
end
$$;
comment on function qctl.check(text, double precision, double precision, bigint, bigint, double precision, double precision, double precision, text[]) is
  'Every problem of the queues: all causes that qctl.health() knows, and every limit that is exceeded (null: no limit). The failure rate '
  'needs at least 10 attempts within 10 min. p_ignore: causes to leave out. No rows: no problem.';
