-- Order: of all messages with one order key only the head, the one with the lowest msg_id, may be claimed. The key is the header
-- x-pgmq-group, which pgmq's own ordered reads use too. A claim hides the followers that it finds (vt is infinity), and the end of the
-- head shows the next one, so no claim reads the same followers twice.

create or replace function qctl._order_key(p_headers jsonb) returns text
language sql immutable parallel safe
return left(p_headers ->> 'x-pgmq-group', 200);
comment on function qctl._order_key(jsonb) is
  'The order key in the headers of a message; null if there is none. PostgreSQL inlines it, so the expression index below matches.';

create or replace function qctl._order_header(p_headers jsonb) returns jsonb
language sql immutable parallel safe
return case when qctl._order_key(p_headers) is null then '{}'::jsonb else jsonb_build_object(':order-key', qctl._order_key(p_headers)) end;
comment on function qctl._order_header(jsonb) is 'The order key as claim hands it to carriers of brokers.';

create or replace function qctl._order_index_state(p_queue text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((select case when i.indisvalid then 'valid' else 'invalid' end from pg_index i
                   where i.indexrelid = to_regclass(format('pgmq.%I', 'qctl_order_' || p_queue))), 'missing')
$$;
comment on function qctl._order_index_state(text) is 'Is the index by order key missing, valid, or invalid because making it concurrently was broken off?';

create or replace function qctl._order_index(p_queue text) returns table (state text, small boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  state := qctl._order_index_state(p_queue);
  small := coalesce(pg_relation_size(to_regclass(format('pgmq.%I', 'q_' || p_queue))), 0) <= 8 * 1024 ^ 2;
  return next;
end
$$;
comment on function qctl._order_index(text) is
  'The index by order key of a queue: valid, missing, or invalid because making it concurrently was broken off. small: qctl.set_queue '
  'can make it, because reading the queue takes no time; otherwise: qctl set -q QUEUE --ordered --sql.';

create or replace function qctl._make_order_index(p_queue qctl.queue) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_index record;
begin
  select * into v_index from qctl._order_index(p_queue.queue_name);
  if v_index.state = 'valid' or to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is null then
    return;
  elsif not v_index.small then
    raise exception 'queue ''%'' is too large for its index by order key to be made in this transaction', p_queue.queue_name
      using errcode = 'QC007', hint = format('qctl set -q %s --ordered; or the statements of: qctl set -q %1$s --ordered --sql', p_queue.queue_name);
  end if;
  if v_index.state = 'invalid' then
    execute format('drop index pgmq.%I', 'qctl_order_' || p_queue.queue_name);
  end if;
  execute format('create index if not exists %I on pgmq.%I ((left(headers ->> ''x-pgmq-group'', 200)), msg_id) where headers ? ''x-pgmq-group''',
                 'qctl_order_' || p_queue.queue_name, 'q_' || p_queue.queue_name);
end
$$;
comment on function qctl._make_order_index(qctl.queue) is 'Creates the index by order key that an ordered queue needs, if that takes no time.';

create or replace function qctl._unhide_followers(p_queue text) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer := 0;
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue)) is not null then
    -- A session that holds the gate must not wait for a row; the sweep shows those that were locked.
    execute format($q$
      update pgmq.%1$I q set vt = clock_timestamp()
      where q.msg_id = any (array(select h.msg_id from pgmq.%1$I h where h.vt = 'infinity' for update skip locked))
    $q$, 'q_' || p_queue);
    get diagnostics v_count = row_count;
  end if;
  return v_count;
end
$$;

create or replace function qctl._show_followers(p_queue qctl.queue) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The gate excludes claims, which would hide more.
  perform from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  update qctl.dead_letter d set blocks_key = null where d.queue_id = p_queue.queue_id and d.blocks_key is not null;
  return qctl._unhide_followers(p_queue.queue_name);
end
$$;
comment on function qctl._show_followers(qctl.queue) is 'Makes all followers ready because the queue is no longer ordered. Its index stays: see qctl._order_index.';

create or replace function qctl._park_followers(p_queue qctl.queue, p_now timestamptz, p_heads integer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  c_most constant integer := 5000;
  c_longest constant interval := '200 ms';
  v_page integer := least(greatest(4 * p_heads, 100), c_most);
  v_from timestamptz := qctl._ready_from(p_queue.queue_id, p_now);
  v_seen integer;
  v_parked integer;
begin
  loop
    -- Locks only the rows that it hides. Each page begins where the one before ended, so it does not read that page's dead rows.
    execute format($q$
      with ready as materialized (
        select q.msg_id, q.vt, qctl._order_key(q.headers) as key from pgmq.%1$I q
        where q.vt >= $4 and q.vt <= $2 order by q.vt limit $3
      ), follower as materialized (
        select r.msg_id from ready r
        where r.key is not null
          and (exists (select from pgmq.%1$I o
                       where o.headers ? 'x-pgmq-group' and qctl._order_key(o.headers) = r.key and o.msg_id < r.msg_id)
               or exists (select from qctl.in_flight f where f.queue_id = $1 and f.order_key = r.key and f.lapsed_at is null and f.msg_id <> r.msg_id offset 0)
               or exists (select from qctl.dead_letter d where d.queue_id = $1 and d.blocks_key = r.key offset 0))
      ), free as materialized (
        select q.msg_id from pgmq.%1$I q where q.msg_id = any (array(select f.msg_id from follower f)) and q.vt <= $2 for update skip locked
      ), parked as (
        update pgmq.%1$I q set vt = 'infinity' from free f where q.msg_id = f.msg_id returning 1
      )
      select (select count(*) from ready), (select count(*) from parked), (select max(r.vt) from ready r)
    $q$, 'q_' || p_queue.queue_name) into v_seen, v_parked, v_from using p_queue.queue_id, p_now, v_page, v_from;
    exit when v_seen < v_page or v_seen - v_parked >= least(p_heads, v_page / 2) or clock_timestamp() > p_now + c_longest;
    v_page := least(v_page * 2, c_most);
  end loop;
end
$$;
comment on function qctl._park_followers(qctl.queue, timestamptz, integer) is
  'Hides ready messages that must wait for another of their order key, until p_heads messages that may go lead the queue. '
  'The caller holds the gate.';

create or replace function qctl._show_next(p_queue qctl.queue, p_keys text[]) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  v_count integer;
begin
  -- The gate excludes claims, because a claim could hide a follower whose head is already gone without being seen here.
  perform from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  execute format($q$
    with key as materialized (
      select distinct k as key from unnest($2) as k
      where k is not null and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.blocks_key = k offset 0)
        and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.order_key = k and f.lapsed_at is null offset 0)
    ), next as materialized (
      select n.msg_id from key k cross join lateral (
        select q.msg_id from pgmq.%1$I q where q.headers ? 'x-pgmq-group' and qctl._order_key(q.headers) = k.key
        order by q.msg_id limit 1) n
    ), free as materialized (
      -- A session that holds the gate must not wait for a row. The session that holds the row calls this later, or the sweep does.
      select q.msg_id from pgmq.%1$I q where q.msg_id = any (array(select n.msg_id from next n)) and q.vt = 'infinity' for update skip locked
    )
    update pgmq.%1$I q set vt = clock_timestamp() from free f where q.msg_id = f.msg_id
  $q$, 'q_' || p_queue.queue_name) using p_queue.queue_id, p_keys;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function qctl._show_next(qctl.queue, text[]) is
  'Shows the next message of each of these order keys if it is hidden and no message of the key blocks it. Returns how many.';

create or replace function qctl._sweep_followers(p_queue qctl.queue) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  c_most constant integer := 10000;
  v_after text := (select g.swept_key from qctl.gate g where g.queue_id = p_queue.queue_id);
  v_keys text[];
begin
  -- Steps from one key to the next by the index, without reading the messages between.
  execute format($q$
    with recursive key as (
      (select qctl._order_key(q.headers) as key from pgmq.%1$I q
       where q.headers ? 'x-pgmq-group' and qctl._order_key(q.headers) %2$s $1 order by 1 limit 1)
      union all
      select (select qctl._order_key(q.headers) from pgmq.%1$I q
              where q.headers ? 'x-pgmq-group' and qctl._order_key(q.headers) > k.key order by 1 limit 1)
      from key k where k.key is not null
    )
    select array_agg(k.key) from (select key from key where key is not null limit $2) k
  $q$, 'q_' || p_queue.queue_name, case when v_after is null then '>=' else '>' end) into v_keys using coalesce(v_after, ''), c_most;
  update qctl.gate g set swept_key = case when cardinality(v_keys) = c_most then v_keys[c_most] end
  where g.queue_id = p_queue.queue_id and g.swept_key is distinct from case when cardinality(v_keys) = c_most then v_keys[c_most] end;
  return case when v_keys is null then 0 else qctl._show_next(p_queue, v_keys) end;
end
$$;
comment on function qctl._sweep_followers(qctl.queue) is
  'Shows followers that were not released, for example because another program '
  'deleted their head. Checks 10,000 keys a call; returns how many.';

create or replace function qctl._sweep_order() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  v_queue qctl.queue;
begin
  -- A queue that was ordered once has the index; what was decided while it was must not outlive that.
  for v_queue in select * from qctl.queue q where q.ordered or qctl._order_index_state(q.queue_name) <> 'missing' order by q.queue_id loop
    begin
      if (case when v_queue.ordered then qctl._sweep_followers(v_queue) else qctl._show_followers(v_queue) end) > 0 then
        perform qctl._notify(v_queue.queue_id);
      end if;
    exception when others then
      perform qctl._audit_rarely('sweep_failed', v_queue.queue_name, sqlstate, sqlerrm);
    end;
  end loop;
end
$$;

create or replace function qctl._may_go(p_queue_name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format($q$(qctl._order_key(q.headers) is null
    or not exists (select from pgmq.%1$I o where o.headers ? 'x-pgmq-group'
                     and qctl._order_key(o.headers) = qctl._order_key(q.headers) and o.msg_id < q.msg_id)
       and not exists (select from qctl.in_flight f
                       where f.queue_id = $1 and f.order_key = qctl._order_key(q.headers) and f.lapsed_at is null offset 0)
       and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.blocks_key = qctl._order_key(q.headers) offset 0))$q$, 'q_' || p_queue_name)
$$;
comment on function qctl._may_go(text) is
  'The condition that message q of queue $1 is the first of its order key, that '
  'none of the key is in flight and that no dead letter blocks it.';

create or replace function qctl._first_heads(p_queue_name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('q.msg_id = any (array(select q.msg_id from (select q.* from pgmq.%I q where q.vt >= $5 and q.vt <= $2 order by q.vt limit 5000) q where %s order by q.vt limit $3))',
                'q_' || p_queue_name, qctl._may_go(p_queue_name))
$$;
comment on function qctl._first_heads(text) is
  'The condition that message q is among the first $3 that may be claimed, of '
  'the first 5,000 ready at $2 and not before $5. The rest are followers not yet hidden.';
