-- Front: where a claim begins to look. As long as any session holds an old snapshot (pg_dump, a forgotten transaction), index entries
-- of finished messages and leases cannot be removed, and a claim would read all of them each time. So a session that notices this
-- remembers where the first living ones are, and begins there. Messages whose transaction took longer than c_margin are behind
-- that place; they are found by a full look, each second or after 20 times what the last one took.

create or replace function qctl._front(p_queue_id integer, p_now timestamptz) returns timestamptz[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Microseconds because the text of an instant depends on the settings of the session.
  v_kept bigint[] := nullif(current_setting('qctl.front_' || p_queue_id, true), '');
  v_front timestamptz[];
begin
  if v_kept is null then
    return null;
  end if;
  select array_agg(timestamptz 'epoch' + k.us * interval '1 microsecond' order by k.place) into v_front
  from unnest(v_kept) with ordinality as k (us, place);
  if p_now >= v_front[3] then
    return null;
  elsif p_now < v_front[1] or p_now < v_front[2] then
    -- The clock was set back. Until its old time returns other sessions may lease what this front passes over.
    perform set_config('qctl.front_' || p_queue_id, '', false);
    return null;
  end if;
  return v_front;
end
$$;
comment on function qctl._front(integer, timestamptz) is
  'Where this session begins to look in a queue: no message before the first instant is ready, no lease claimed before the second is live; '
  'the third says when to look through everything again. Null: look through everything.';

create or replace function qctl._ready_from(p_queue_id integer, p_now timestamptz) returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((qctl._front(p_queue_id, p_now))[1], '-infinity')
$$;
comment on function qctl._ready_from(integer, timestamptz) is 'The first instant of qctl._front.';

create or replace function qctl._move_front(p_queue qctl.queue, p_front timestamptz[], p_oldest_lease timestamptz, p_now timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  -- Messages of transactions that take no longer are found without a full look.
  c_margin constant interval := '100 ms';
  -- Reading one index entry takes this long where nothing dead lies before it; planning is part of it.
  c_quick constant interval := '500 us';
  v_began timestamptz := clock_timestamp();
  v_first timestamptz;
  v_front timestamptz[];
begin
  execute format('select q.vt from pgmq.%I q where q.vt >= $1 and q.vt <= $2 order by q.vt limit 1', 'q_' || p_queue.queue_name)
    into v_first using coalesce(p_front[1], '-infinity'), p_now;
  if not isfinite(v_first) or p_front is null and clock_timestamp() - v_began < c_quick then
    return;
  end if;
  -- A full look takes at most a twentieth of the time.
  v_front := array[least(v_first, p_now - c_margin), coalesce(p_oldest_lease, p_now),
                   coalesce(p_front[3], p_now + greatest(interval '1 s', 20 * (clock_timestamp() - p_now)))];
  perform set_config('qctl.front_' || p_queue.queue_id,
                     (select array_agg((extract(epoch from f.at) * 1000000)::bigint order by f.place)::text
                      from unnest(v_front) with ordinality as f (at, place)), false);
end
$$;
comment on function qctl._move_front(qctl.queue, timestamptz[], timestamptz, timestamptz) is
  'Remembers where the first ready message and the oldest live lease are, if there are dead index entries before them. '
  'The caller holds the gate and has counted the leases.';
