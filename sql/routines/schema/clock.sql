-- The clock: what happens to instants that were kept before it was set back.

create or replace function qctl._not_after(p_at timestamptz, p_now timestamptz) returns timestamptz
language sql immutable parallel safe
return case when p_at > p_now then p_now else p_at end;
comment on function qctl._not_after(timestamptz, timestamptz) is 'The instant, or p_now if it lies in the future; null stays null, unlike with least().';

create or replace function qctl._look_at_clock() returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_least constant interval := '10 s';
  v_now timestamptz := clock_timestamp();
  v_kept qctl.upkept;
  v_queue qctl.queue;
  v_count integer := 0;
begin
  select * into v_kept from qctl.upkept for update skip locked;
  if not found then
    return 0;
  end if;
  if v_kept.seen_at > v_now + c_least then
    v_kept.ahead_until := greatest(v_kept.seen_at, v_kept.ahead_until);
    v_kept.set_back_by := v_kept.seen_at - v_now;
    update qctl.upkept u
    set ahead_until = v_kept.ahead_until, set_back_by = v_kept.set_back_by, rolled_to = qctl._not_after(u.rolled_to, v_now),
        retained_at = qctl._not_after(u.retained_at, v_now), swept_at = qctl._not_after(u.swept_at, v_now);
    perform qctl._set_back(v_now, v_kept.set_back_by);
    perform qctl._audit('clock_set_back', null, jsonb_build_object('by_s', round(extract(epoch from v_kept.set_back_by))));
  end if;
  update qctl.upkept u set seen_at = v_now;
  if v_kept.ahead_until > v_now then
    for v_queue in select * from qctl.queue q where to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) is not null loop
      v_count := v_count + qctl._set_queue_back(v_queue, v_now, v_kept.set_back_by);
    end loop;
  end if;
  return v_count;
end
$$;
comment on function qctl._look_at_clock() is
  'Notices that the clock was set back since the last maintenance, and moves what was kept before, so that nothing waits for the old time. '
  'Returns how many messages it moved.';

create or replace function qctl._set_back(p_now timestamptz, p_by interval) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update qctl.in_flight f
  set claimed_at = qctl._not_after(f.claimed_at, p_now), expires_at = case when f.claimed_at > p_now then p_now + (f.expires_at - f.claimed_at) else f.expires_at end,
      lapsed_at = qctl._not_after(f.lapsed_at, p_now)
  where f.claimed_at > p_now or f.lapsed_at > p_now;
  update qctl.worker w set last_seen_at = qctl._not_after(w.last_seen_at, p_now), started_at = qctl._not_after(w.started_at, p_now), stopped_at = qctl._not_after(w.stopped_at, p_now)
  where greatest(w.last_seen_at, w.started_at, w.stopped_at) > p_now;
  update qctl.net_epoch e set began_at = p_now where e.began_at > p_now;
  update qctl.scheduler s set net_held_since = qctl._not_after(s.net_held_since, p_now), net_probe_at = qctl._not_after(s.net_probe_at, p_now);
  update qctl.gate g
  set opened_at = qctl._not_after(g.opened_at, p_now), failing_since = qctl._not_after(g.failing_since, p_now), window_at = qctl._not_after(g.window_at, p_now),
      probe_at = qctl._not_after(g.probe_at, p_now), probe_ends = qctl._not_after(g.probe_ends, p_now), paced_at = qctl._not_after(g.paced_at, p_now),
      recall_since = qctl._not_after(g.recall_since, p_now), net_hold_until = qctl._not_after(g.net_hold_until, p_now), paused_at = qctl._not_after(g.paused_at, p_now);
  update qctl.dedup d set expires_at = d.expires_at - p_by where d.expires_at > p_now + p_by;
  update qctl.event_last e set at = p_now where e.at > p_now;
  delete from qctl.sample s where s.at > p_now;
end
$$;
comment on function qctl._set_back(timestamptz, interval) is 'Moves the instants of everything but messages that lie in the future of p_now.';

create or replace function qctl._set_queue_back(p_queue qctl.queue, p_now timestamptz, p_by interval) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  c_page constant integer := 20000;
  v_count integer;
begin
  -- vt lies before enqueued_at only in rows that were moved already, so none is moved twice. A retry is moved with its last_at.
  execute format($q$
    with ahead as materialized (
      select q.msg_id from pgmq.%1$I q
      where q.vt > $2 and isfinite(q.vt) and q.enqueued_at > $2 and q.vt >= q.enqueued_at
        and not exists (select from qctl.retry r where r.queue_id = $1 and r.msg_id = q.msg_id and r.last_at is not null)
      order by q.vt limit $4 for update skip locked
    ), tried as materialized (
      select r.msg_id, r.enqueued_at from qctl.retry r
      where r.queue_id = $1 and r.last_at > $2 and r.next_at >= r.last_at order by r.msg_id limit $4 for update skip locked
    ), moved as (
      update pgmq.%1$I q set vt = q.vt - $3
      where q.vt > $2 and isfinite(q.vt) and (q.msg_id = any (array(select a.msg_id from ahead a)) or q.msg_id = any (array(select t.msg_id from tried t)))
      returning 1
    ), noted as (
      update qctl.retry r set next_at = r.next_at - $3 from tried t
      where r.queue_id = $1 and r.msg_id = t.msg_id and r.enqueued_at = t.enqueued_at
    )
    select count(*) from moved
  $q$, 'q_' || p_queue.queue_name) into v_count using p_queue.queue_id, p_now, p_by, c_page;
  return v_count;
end
$$;
comment on function qctl._set_queue_back(qctl.queue, timestamptz, interval) is
  'Moves up to 20,000 messages of a queue whose time was set by the clock that was ahead; returns how many.';
