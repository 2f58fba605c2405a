-- Circuit breaker: while an endpoint is down only one probe at a time is claimed, so an outage costs messages no attempts.
-- The gate row keeps its state, which is written only while attempts fail or a slow start runs.

create or replace function qctl._is_due(p_at timestamptz, p_now timestamptz, p_longest interval) returns boolean
language sql immutable parallel safe
return coalesce(p_at <= p_now or p_at > p_now + p_longest, true);
comment on function qctl._is_due(timestamptz, timestamptz, interval) is
  'True if that instant has come. One that is further away than it can be was kept before the clock was set back, so it has come, too.';

create or replace function qctl._longest_pause(p_queue qctl.queue) returns interval
language sql immutable parallel safe
return make_interval(secs => greatest(p_queue.breaker_pause_max_s * 1.1, least(p_queue.retry_after_max_s, 600)));
comment on function qctl._longest_pause(qctl.queue) is
  'The longest time between two probes: the longest pause with its jitter, or 10 min where the endpoint asks for that.';

create or replace function qctl._breaker_pause(p_queue qctl.queue, p_pauses integer, p_spread double precision, p_retry_after_s integer)
returns interval
language sql immutable parallel safe
return greatest(make_interval(secs => least(p_queue.breaker_pause_max_s, 2 ^ least(p_pauses, 12)) * (0.9 + 0.2 * p_spread)),
                make_interval(secs => case when p_retry_after_s > 0 then least(p_retry_after_s, p_queue.retry_after_max_s, 600) else 0 end));
comment on function qctl._breaker_pause(qctl.queue, integer, double precision, integer) is
  'Time to wait after that many failed probes: 1 s, 2 s, 4 s ... up to the longest of the queue, with 10 % jitter by p_spread, from 0 to 1. '
  'A Retry-After may make it longer, up to 10 min.';

create or replace function qctl._breaker_closed(p_gate qctl.gate) returns qctl.gate
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  p_gate.opened_at := null;
  p_gate.open_reason := null;
  p_gate.pauses := 0;
  p_gate.probe_at := null;
  p_gate.probe_lease := null;
  p_gate.probe_ends := null;
  p_gate.failures := 0;
  p_gate.failing_since := null;
  p_gate.window_at := null;
  p_gate.recall_after := 0;
  p_gate.slow_limit := qctl._slow_start();
  return p_gate;
end
$$;
comment on function qctl._breaker_closed(qctl.gate) is
  'The gate with its breaker closed. Claims start slowly, and the messages that failed in the outage become due page by page.';

create or replace function qctl._breaker_opened(p_queue qctl.queue, p_gate qctl.gate, p_what text, p_error text, p_since timestamptz,
                                                p_now timestamptz, p_spread double precision) returns qctl.gate
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  p_gate.opened_at := p_now;
  p_gate.open_reason := p_what || coalesce(': ' || p_error, '');
  p_gate.pauses := 0;
  p_gate.probe_at := p_now + qctl._breaker_pause(p_queue, 0, p_spread, null);
  p_gate.probe_lease := null;
  p_gate.probe_ends := null;
  p_gate.failures := 0;
  p_gate.failing_since := null;
  p_gate.window_at := null;
  p_gate.slow_limit := null;
  p_gate.recall_since := least(p_since, case when p_gate.recall_after is not null then p_gate.recall_since end);
  p_gate.recall_after := null;
  return p_gate;
end
$$;

create or replace function qctl._breaker_next(p_queue qctl.queue, p_gate qctl.gate, p_answers qctl.answer_counts, p_now timestamptz,
                                              p_spread double precision) returns qctl.gate
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  c_window constant interval := '30 s';
  c_least constant integer := 20;
  v_failed integer;
begin
  if p_gate.opened_at is not null then
    -- Only the probe shows the present state of the endpoint; other answers belong to requests sent before the breaker opened.
    if p_answers.probe = 'alive' then
      return qctl._breaker_closed(p_gate);
    elsif p_answers.probe is not null then
      p_gate.probe_lease := null;
      p_gate.probe_ends := null;
      if p_answers.probe = 'outage' then
        p_gate.pauses := p_gate.pauses + 1;
        p_gate.open_reason := coalesce(p_answers.error, p_gate.open_reason);
        p_gate.probe_at := p_now + qctl._breaker_pause(p_queue, p_gate.pauses, p_spread, p_answers.retry_after_s);
      else
        p_gate.probe_at := p_now;
      end if;
    end if;
    return p_gate;
  end if;

  -- An endpoint that accepts the credentials of other messages is not down.
  v_failed := p_answers.outages + case when p_answers.alive = 0 then p_answers.denied else 0 end;
  if p_answers.alive > 0 then
    p_gate.failures := 0;
    p_gate.failing_since := null;
  elsif v_failed > 0 then
    p_gate.failures := p_gate.failures + v_failed;
    p_gate.failing_since := coalesce(p_gate.failing_since, p_answers.failing_since, p_now);
  end if;
  if p_gate.window_at is null or p_gate.window_at not between p_now - c_window and p_now then
    p_gate.window_at := case when p_answers.outages > 0 then p_now end;
    p_gate.window_answers := 0;
    p_gate.window_failures := 0;
  end if;
  if p_gate.window_at is not null then
    p_gate.window_answers := p_gate.window_answers + p_answers.alive + p_answers.outages;
    p_gate.window_failures := p_gate.window_failures + p_answers.outages;
  end if;
  p_gate.slow_limit := case when p_gate.slow_limit + p_answers.alive < p_queue.max_in_flight then p_gate.slow_limit + p_answers.alive end;

  if v_failed > 0 and p_queue.breaker_after > 0 then
    if p_gate.failures >= p_queue.breaker_after then
      return qctl._breaker_opened(p_queue, p_gate, format('%s attempts in a row failed', p_gate.failures), p_answers.error,
                                  p_gate.failing_since, p_now, p_spread);
    elsif p_gate.window_answers >= c_least and p_gate.window_failures >= p_queue.breaker_share * p_gate.window_answers then
      return qctl._breaker_opened(p_queue, p_gate, format('%s of %s attempts within 30 s failed', p_gate.window_failures, p_gate.window_answers),
                                  p_answers.error, least(p_gate.window_at, p_answers.failing_since), p_now, p_spread);
    end if;
  end if;
  return p_gate;
end
$$;
comment on function qctl._breaker_next(qctl.queue, qctl.gate, qctl.answer_counts, timestamptz, double precision) is
  'The circuit breaker: the gate after these answers. It reads and writes nothing else. p_spread, from 0 to 1, is the jitter of a pause.';

create or replace function qctl._set_breaker(p_queue qctl.queue, p_before qctl.gate, p_after qctl.gate, p_why text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_open_s numeric := round(extract(epoch from clock_timestamp() - p_before.opened_at));
begin
  update qctl.gate g
  set (failures, failing_since, window_at, window_answers, window_failures, opened_at, open_reason, pauses, probe_at, probe_lease, probe_ends,
       recall_after, recall_since, slow_limit)
    = (p_after.failures, p_after.failing_since, p_after.window_at, p_after.window_answers, p_after.window_failures, p_after.opened_at,
       p_after.open_reason, p_after.pauses, p_after.probe_at, p_after.probe_lease, p_after.probe_ends, p_after.recall_after,
       p_after.recall_since, p_after.slow_limit)
  where g.queue_id = p_queue.queue_id;
  if p_before.opened_at is null and p_after.opened_at is not null then
    perform qctl._audit('breaker_opened', p_queue.queue_name, jsonb_build_object('reason', p_after.open_reason));
    perform qctl._emit('breaker.opened', p_queue.queue_name, jsonb_build_object('reason', p_after.open_reason, 'url', p_queue.url));
  elsif p_before.opened_at is not null and p_after.opened_at is null then
    perform qctl._audit('breaker_closed', p_queue.queue_name, jsonb_build_object('why', p_why, 'open_s', v_open_s));
    perform qctl._emit('breaker.closed', p_queue.queue_name, jsonb_build_object('open_s', v_open_s, 'url', p_queue.url));
    perform qctl._notify(p_queue.queue_id);
  end if;
end
$$;
comment on function qctl._set_breaker(qctl.queue, qctl.gate, qctl.gate, text) is
  'Writes the breaker of a gate that the caller has locked, with the audit and the event if it opened or closed.';

create or replace function qctl._record_answers(p_queue qctl.queue, p_answers qctl.answer_counts) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gate qctl.gate;
  v_now timestamptz;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id;
  if p_answers.outages + p_answers.denied = 0 and p_answers.probe is null and v_gate.failures = 0 and v_gate.window_at is null
     and v_gate.slow_limit is null then
    return;
  end if;
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  -- Read again under the lock, because the settings of the breaker may have changed.
  select * into p_queue from qctl.queue q where q.queue_id = p_queue.queue_id;
  v_now := clock_timestamp();
  perform qctl._set_breaker(p_queue, v_gate, qctl._breaker_next(p_queue, v_gate, p_answers, v_now, random()), 'a probe was answered');
end
$$;
comment on function qctl._record_answers(qctl.queue, qctl.answer_counts) is
  'Tells the breaker of the answers of the endpoint. Writes nothing while all is well.';

create or replace function qctl._close_breaker(p_queue qctl.queue, p_why text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gate qctl.gate;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  if v_gate.opened_at is not null then
    perform qctl._set_breaker(p_queue, v_gate, qctl._breaker_closed(v_gate), p_why);
  end if;
end
$$;
comment on function qctl._close_breaker(qctl.queue, text) is 'Closes the breaker of a queue, if it is open.';

create or replace function qctl._slow_start() returns integer
language sql immutable parallel safe
return 10;
comment on function qctl._slow_start() is
  'The limit of messages in flight after an outage, a pause or arming. Each answer raises it by one, so it doubles with each round trip.';

create or replace function qctl._probe(p_queue qctl.queue, p_now timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  v_may text := case when p_queue.ordered then qctl._may_go(p_queue.queue_name) else 'true' end;
  v_id bigint;
begin
  -- Messages that wait for another of their order key must not fill the front.
  if p_queue.ordered then
    perform qctl._park_followers(p_queue, p_now, 1);
  end if;
  execute format($q$
    select q.msg_id from (select q.* from pgmq.%1$I q where q.vt >= $3 and q.vt <= $2 order by q.vt limit 100) q
    left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    where %2$s and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null offset 0)
    order by coalesce(r.attempt_no, 0), q.msg_id limit 1
  $q$, 'q_' || p_queue.queue_name, v_may) into v_id using p_queue.queue_id, p_now, qctl._ready_from(p_queue.queue_id, p_now);
  if v_id is not null then
    return v_id;
  end if;
  -- No message is due, so the probe is one that waits for its next attempt, and it costs that message no attempt if it fails.
  execute format($q$
    select q.msg_id
    from (select * from qctl.retry r
          where r.queue_id = $1 and r.attempts > 0 and qctl._is_outage(r.last_status, r.last_error) order by r.msg_id limit 1000) r
    join pgmq.%1$I q on q.msg_id = r.msg_id and q.enqueued_at = r.enqueued_at
    where q.vt > $2 and isfinite(q.vt) and %2$s
      and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null offset 0)
    order by r.attempt_no, q.msg_id limit 1 for update of q skip locked
  $q$, 'q_' || p_queue.queue_name, v_may) into v_id using p_queue.queue_id, p_now;
  if v_id is not null then
    execute format('update pgmq.%I q set vt = $2 where q.msg_id = $1 and q.vt > $2', 'q_' || p_queue.queue_name) using v_id, p_now;
    update qctl.retry r set early = true where r.queue_id = p_queue.queue_id and r.msg_id = v_id;
  end if;
  return v_id;
end
$$;
comment on function qctl._probe(qctl.queue, timestamptz) is
  'The message to probe the endpoint with: the due message with the fewest attempts, or if none is due, one that failed in an outage. '
  'This order prevents a message that always fails from keeping the breaker open.';

create or replace function qctl._recall(p_queue qctl.queue, p_gate qctl.gate, p_now timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  c_page constant integer := 1000;
  v_last bigint;
  v_count integer;
begin
  execute format($q$
    with page as materialized (
      select r.* from qctl.retry r where r.queue_id = $1 and r.msg_id > $2 order by r.msg_id limit $5
    ), early as materialized (
      select q.msg_id, q.enqueued_at from pgmq.%1$I q
      join (select p.msg_id, p.enqueued_at from page p
            where p.next_at > $4 and p.attempts > 0 and p.last_at >= $3 and qctl._answer_shows(p.last_status, p.last_error) <> 'alive') p
        on p.msg_id = q.msg_id and p.enqueued_at = q.enqueued_at
      where q.vt > $4 and isfinite(q.vt) for update of q skip locked
    ), due as (
      update pgmq.%1$I q set vt = $4 from early e where q.msg_id = e.msg_id
    ), noted as (
      update qctl.retry r set early = true from early e where r.queue_id = $1 and r.msg_id = e.msg_id and r.enqueued_at = e.enqueued_at
    )
    select max(p.msg_id), count(*) from page p
  $q$, 'q_' || p_queue.queue_name) into v_last, v_count using p_queue.queue_id, p_gate.recall_after, p_gate.recall_since, p_now, c_page;
  update qctl.gate g set recall_after = case when v_count = c_page then v_last end where g.queue_id = p_queue.queue_id;
end
$$;
comment on function qctl._recall(qctl.queue, qctl.gate, timestamptz) is
  'After an outage, or when the endpoint changed: makes the next 1,000 messages that failed because of it due. Each '
  'claim handles one page, so no step takes longer when there are more.';
