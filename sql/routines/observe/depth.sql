-- Depth: how many messages the queues hold, how long they have waited, and whether the queues grow.

create or replace function qctl._is_hidden(p_relation regclass) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_relation is null or not has_table_privilege(p_relation, 'select')
      or row_security_active(p_relation)
         and not exists (select from pg_policy p
                         where p.polrelid = p_relation and p.polpermissive and p.polcmd in ('*', 'r')
                           and pg_get_expr(p.polqual, p.polrelid) = 'true'
                           and exists (select from unnest(p.polroles) as o (id) where o.id = 0 or pg_has_role(o.id, 'usage')));
end
$$;
comment on function qctl._is_hidden(regclass) is
  'True if the rows of this table cannot be counted: it does not exist, the role may not read it, or row level security hides rows.';

create or replace function qctl._depth(p_queue text, p_at_least bigint default 0)
returns table (queue_name text, depth bigint, ready bigint, delayed bigint, in_flight bigint, retrying bigint, dead bigint,
               exact boolean, estimate bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  c_dead constant bigint := 100000;
  v_count_to bigint := greatest(10000, p_at_least);
  v_queue qctl.queue;
  v_table regclass;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    v_table := to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name));
    continue when qctl._is_hidden(v_table);
    queue_name := v_queue.queue_name;
    execute format($q$
      select count(*), count(*) filter (where f.msg_id is null and q.vt <= $2),
             count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is null),
             count(f.msg_id), count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is not null)
      from (select q.msg_id, q.enqueued_at, q.vt from pgmq.%I q limit $3 + 1) q
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    $q$, 'q_' || v_queue.queue_name)
    into depth, ready, delayed, in_flight, retrying using v_queue.queue_id, clock_timestamp(), v_count_to;
    exact := depth <= v_count_to;
    estimate := depth;
    if not exact then
      depth := v_count_to;
      select greatest(v_count_to, pg_stat_get_live_tuples(v_table), c.reltuples::bigint) into estimate from pg_class c where c.oid = v_table;
      select count(*) into in_flight from qctl.in_flight f where f.queue_id = v_queue.queue_id and f.lapsed_at is null;
      ready := least(ready, v_count_to);
    end if;
    select count(*) into dead from (select from qctl.dead_letter d where d.queue_id = v_queue.queue_id limit greatest(v_count_to, c_dead)) d;
    return next;
  end loop;
end
$$;
comment on function qctl._depth(text, bigint) is
  'As qctl.depth(), for frequent calls. Counts to 10,000 or to p_at_least, so the cost does not grow with the queue.';

create or replace function qctl.depth(p_queue text default null)
returns table (queue_name text, depth bigint, ready bigint, delayed bigint, in_flight bigint, retrying bigint, dead bigint,
               exact boolean, estimate bigint)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._depth(p_queue, 100000)
$$;
comment on function qctl.depth(text) is
  'Unfinished messages by state, and dead letters. Exact up to 100,000. Above that exact is false, the numbers are lower bounds except '
  'in_flight, and estimate is PostgreSQL''s estimate of the depth. Dead letters are counted up to 100,000.';

create or replace function qctl.lag(p_queue text default null)
returns table (queue_name text, lag_s double precision, age_s double precision)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    continue when qctl._is_hidden(to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)));
    queue_name := v_queue.queue_name;
    -- Ids rise with enqueued_at, so the oldest message of each kind is among the first: untried and ready, tried or replayed, in flight.
    execute format($q$
      select extract(epoch from $2 - (
               select greatest(q.vt, q.enqueued_at) from pgmq.%1$I q
               where q.vt <= $2 and isfinite(q.enqueued_at) order by q.vt limit 1)),
             extract(epoch from $2 - least(
               -- enqueued_at is the beginning of the transaction; a message that nobody claimed or hid is as old as its vt.
               (select min(case when q.read_ct = 0 and qctl._order_key(q.headers) is null then greatest(q.enqueued_at, q.vt) else q.enqueued_at end)
                from (select * from pgmq.%1$I q where isfinite(q.enqueued_at) order by q.msg_id limit 1000) q
                where q.vt <= $2 and not exists (select from qctl.retry r where r.queue_id = $1 and r.msg_id = q.msg_id)),
               (select min(case when q.read_ct = 0 and qctl._order_key(q.headers) is null then greatest(q.enqueued_at, q.vt) else q.enqueued_at end)
                from (select * from pgmq.%1$I q where q.vt <= $2 and isfinite(q.enqueued_at) order by q.vt limit 100) q
                where not exists (select from qctl.retry r where r.queue_id = $1 and r.msg_id = q.msg_id)),
               (select min(case when r.attempts = 0 and r.lost = 0 then greatest(r.replayed_at, r.next_at)
                                else coalesce(r.replayed_at, r.enqueued_at) end)
                from (select * from qctl.retry r
                      where r.queue_id = $1 and isfinite(r.enqueued_at) and not (r.attempts = 0 and r.lost = 0 and r.next_at > $2)
                      order by r.msg_id limit 1000) r
                where exists (select from pgmq.%1$I q where q.msg_id = r.msg_id and q.enqueued_at = r.enqueued_at)),
               (select min(f.enqueued_at) from qctl.in_flight f
                where f.queue_id = $1 and f.lapsed_at is null and isfinite(f.enqueued_at)
                  and not exists (select from qctl.retry r where r.queue_id = $1 and r.msg_id = f.msg_id))))
    $q$, 'q_' || v_queue.queue_name) into lag_s, age_s using v_queue.queue_id, clock_timestamp();
    return next;
  end loop;
end
$$;
comment on function qctl.lag(text) is
  'lag_s: how long the oldest ready message has waited for a worker. age_s: the age of the oldest unfinished message that is not delayed.';

create or replace function qctl._last_msg_id(p_queue_name text) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(pg_sequence_last_value(pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue_name), 'msg_id')::regclass), 0)
$$;

create or replace function qctl._take_samples() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue record;
begin
  for v_queue in
    select q.queue_id, q.queue_name from qctl.queue q
    where not exists (select from qctl.sample s where s.queue_id = q.queue_id and s.at > statement_timestamp() - interval '50 s')
  loop
    begin
      insert into qctl.sample (queue_id, at, depth, last_msg_id)
      select v_queue.queue_id, clock_timestamp(), case when d.exact then d.depth end, qctl._last_msg_id(v_queue.queue_name)
      from qctl.depth(v_queue.queue_name) d;
    exception when others then
      perform qctl._audit_rarely('sample_failed', v_queue.queue_name, sqlstate, sqlerrm);
    end;
  end loop;
  delete from qctl.sample s where s.at < statement_timestamp() - interval '1 day';
end
$$;
comment on function qctl._take_samples() is 'Records the depth of each queue, at most once a minute.';

create or replace function qctl._growth(p_queue qctl.queue, p_depth bigint, p_exact boolean, p_estimate bigint)
returns table (per_s double precision, drain_s double precision)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  c_sampled constant bigint := 100000;
  v_then qctl.sample;
  v_for_s double precision;
begin
  -- The oldest sample within 6 min, because compared with a very recent one a burst looks like growth.
  select * into v_then from qctl.sample s
  where s.queue_id = p_queue.queue_id and s.at > statement_timestamp() - interval '6 min' and s.at < statement_timestamp() - interval '45 s'
  order by s.at limit 1;
  if p_depth = 0 then
    drain_s := 0;
  end if;
  if v_then.at is not null and p_depth is not null then
    v_for_s := extract(epoch from clock_timestamp() - v_then.at);
    if p_exact and v_then.depth is not null then
      per_s := (p_depth - v_then.depth) / v_for_s;
    elsif v_then.depth is not null and p_depth < c_sampled then
      -- The sample is exact but this count stopped earlier, so the estimate is used if there is one.
      per_s := (nullif(p_estimate, p_depth) - v_then.depth) / v_for_s;
    else
      per_s := (qctl._last_msg_id(p_queue.queue_name) - v_then.last_msg_id
                - (select c.delivered + c.dead from qctl._counts(p_queue.queue_id, v_then.at) c)) / v_for_s;
    end if;
    if per_s < 0 and p_depth > 0 then
      drain_s := p_estimate / -per_s;
    end if;
  end if;
  return next;
end
$$;

create or replace function qctl.growth(p_queue text) returns table (per_s double precision, drain_s double precision)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query
  select g.* from qctl._depth(p_queue, 100000) d, qctl._growth(v_queue, d.depth, d.exact, d.estimate) g;
end
$$;
comment on function qctl.growth(text) is
  'per_s: the growth of the queue in the last minutes in messages per second, negative if it drains. drain_s: the seconds until it is '
  'empty at that rate. Both are null if no maintenance has run; drain_s is also null if the queue does not drain.';
