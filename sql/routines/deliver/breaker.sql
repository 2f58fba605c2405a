-- Circuit breaker: while an endpoint is down only one probe at a time is claimed, so an outage costs messages no attempts.
-- The gate row keeps its state, which is written only while attempts fail or a slow start runs.

create or replace function qctl._breaker_pause(p_pauses integer, p_most_s integer) returns interval
language sql volatile parallel safe
return make_interval(secs => least(p_most_s, 2 ^ least(p_pauses, 12)) * (0.9 + 0.2 * random()));
comment on function qctl._breaker_pause(integer, integer) is
  'Time to wait after that many failed probes: 1 s, 2 s, 4 s ... up to p_most_s, with 10 % jitter.';

create or replace function qctl._record_answers(
  p_queue qctl.queue, p_alive integer, p_failed integer, p_failing_since timestamptz, p_probe_alive boolean, p_retry_after_s integer, p_error text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_window constant interval := '30 s';
  c_least constant integer := 20;
  c_longest_wish constant integer := 600;
  v_gate qctl.gate;
  v_now timestamptz;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id;
  if p_failed = 0 and p_probe_alive is null and v_gate.failures = 0 and v_gate.window_at is null and v_gate.slow_limit is null then
    return;
  end if;
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  v_now := clock_timestamp();

  if v_gate.opened_at is not null then
    -- Only the probe shows the present state of the endpoint; other answers belong to requests sent before the breaker opened.
    if p_probe_alive then
      perform qctl._close_breaker(p_queue, 'a probe was answered');
    elsif not p_probe_alive then
      update qctl.gate g set pauses = g.pauses + 1, probe_lease = null, probe_ends = null,
        open_reason = coalesce(p_error, g.open_reason),
        probe_at = v_now + greatest(qctl._breaker_pause(g.pauses + 1, p_queue.breaker_pause_max_s),
                                    case when p_retry_after_s > 0 then make_interval(secs => least(p_retry_after_s, p_queue.retry_after_max_s, c_longest_wish)) end)
      where g.queue_id = p_queue.queue_id;
    end if;
    return;
  end if;

  if p_alive > 0 then
    v_gate.failures := 0;
    v_gate.failing_since := null;
  else
    v_gate.failures := v_gate.failures + p_failed;
    v_gate.failing_since := coalesce(v_gate.failing_since, p_failing_since);
  end if;
  if v_gate.window_at is null or v_gate.window_at < v_now - c_window then
    v_gate.window_at := case when p_failed > 0 then v_now end;
    v_gate.window_answers := 0;
    v_gate.window_failures := 0;
  end if;
  if v_gate.window_at is not null then
    v_gate.window_answers := v_gate.window_answers + p_alive + p_failed;
    v_gate.window_failures := v_gate.window_failures + p_failed;
  end if;
  v_gate.slow_limit := case when v_gate.slow_limit + p_alive < p_queue.max_in_flight then v_gate.slow_limit + p_alive end;
  update qctl.gate g
  set (failures, failing_since, window_at, window_answers, window_failures, slow_limit)
    = (v_gate.failures, v_gate.failing_since, v_gate.window_at, v_gate.window_answers, v_gate.window_failures, v_gate.slow_limit)
  where g.queue_id = p_queue.queue_id;

  if p_failed > 0 and p_queue.breaker_after > 0 then
    if v_gate.failures >= p_queue.breaker_after then
      perform qctl._open_breaker(p_queue, format('%s attempts in a row failed', v_gate.failures), p_error, v_gate.failing_since);
    elsif v_gate.window_answers >= c_least and v_gate.window_failures >= p_queue.breaker_share * v_gate.window_answers then
      perform qctl._open_breaker(p_queue, format('%s of %s attempts within 30 s failed', v_gate.window_failures, v_gate.window_answers), p_error,
                                 least(v_gate.window_at, p_failing_since));
    end if;
  end if;
end
$$;
comment on function qctl._record_answers(qctl.queue, integer, integer, timestamptz, boolean, integer, text) is
  'Counts answers of the endpoint. p_alive: answers that show that it works; p_failed: failures of the endpoint; '
  'p_probe_alive: the result of the probe, null if the probe is not among them.';

create or replace function qctl._open_breaker(p_queue qctl.queue, p_what text, p_error text, p_since timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := p_what || coalesce(': ' || p_error, '');
begin
  update qctl.gate g
  set opened_at = clock_timestamp(), open_reason = v_reason, pauses = 0, probe_at = clock_timestamp() + qctl._breaker_pause(0, p_queue.breaker_pause_max_s),
      probe_lease = null, probe_ends = null, failures = 0, failing_since = null, window_at = null, slow_limit = null, recall_after = null,
      recall_since = least(p_since, case when g.recall_after is not null then g.recall_since end)
  where g.queue_id = p_queue.queue_id;
  perform qctl._audit('breaker_opened', p_queue.queue_name, jsonb_build_object('reason', v_reason));
  perform qctl._emit('breaker.opened', p_queue.queue_name, jsonb_build_object('reason', v_reason, 'url', p_queue.url));
end
$$;

create or replace function qctl._close_breaker(p_queue qctl.queue, p_why text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_gate qctl.gate;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  if v_gate.opened_at is null then
    return;
  end if;
  update qctl.gate g
  set opened_at = null, open_reason = null, pauses = 0, probe_at = null, probe_lease = null, probe_ends = null, probe_early = false,
      failures = 0, failing_since = null, window_at = null, recall_after = 0, slow_limit = qctl._slow_start()
  where g.queue_id = p_queue.queue_id;
  perform qctl._audit('breaker_closed', p_queue.queue_name, jsonb_build_object('why', p_why, 'open_s', round(extract(epoch from clock_timestamp() - v_gate.opened_at))));
  perform qctl._emit('breaker.closed', p_queue.queue_name,
                     jsonb_build_object('open_s', round(extract(epoch from clock_timestamp() - v_gate.opened_at)), 'url', p_queue.url));
  perform qctl._notify(p_queue.queue_id);
end
$$;
comment on function qctl._close_breaker(qctl.queue, text) is
  'Closes the breaker. Claims start slowly, and the messages that failed in the outage become due page by page.';

create or replace function qctl._slow_start() returns integer
language sql immutable parallel safe
return 10;
comment on function qctl._slow_start() is
  'The limit of messages in flight after an outage, a pause or arming. Each answer raises it by one, so it doubles with each round trip.';

create or replace function qctl._probe(p_queue qctl.queue, p_now timestamptz, out msg_id bigint, out early boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  v_may text := case when p_queue.ordered then qctl._may_go(p_queue.queue_name) else 'true' end;
begin
  execute format($q$
    select q.msg_id from (select q.* from pgmq.%1$I q where q.vt <= $2 order by q.vt limit 100) q
    left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    where %2$s and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null)
    order by coalesce(r.attempt_no, 0), q.msg_id limit 1
  $q$, 'q_' || p_queue.queue_name, v_may) into msg_id using p_queue.queue_id, p_now;
  early := false;
  if msg_id is not null then
    return;
  end if;
  -- No message is due, so the probe is one that waits for its next attempt. If the probe fails, it costs that message no attempt.
  execute format($q$
    select q.msg_id
    from (select * from qctl.retry r where r.queue_id = $1 and r.attempts > 0 order by r.msg_id limit 1000) r
    join pgmq.%1$I q on q.msg_id = r.msg_id and q.enqueued_at = r.enqueued_at
    where q.vt > $2 and isfinite(q.vt) and %2$s and qctl._is_outage(r.last_status, r.last_error)
      and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null)
    order by r.attempt_no, q.msg_id limit 1 for update of q skip locked
  $q$, 'q_' || p_queue.queue_name, v_may) into msg_id using p_queue.queue_id, p_now;
  if msg_id is not null then
    execute format('update pgmq.%I q set vt = $2 where q.msg_id = $1 and q.vt > $2', 'q_' || p_queue.queue_name) using msg_id, p_now;
    early := true;
  end if;
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
            where p.next_at > $4 and p.attempts > 0 and p.last_at >= $3 and qctl._is_outage(p.last_status, p.last_error)) p
        on p.msg_id = q.msg_id and p.enqueued_at = q.enqueued_at
      where q.vt > $4 and isfinite(q.vt) for update of q skip locked
    ), due as (
      update pgmq.%1$I q set vt = $4 from early e where q.msg_id = e.msg_id
    ), noted as (
      update qctl.retry r set next_at = $4 from early e where r.queue_id = $1 and r.msg_id = e.msg_id and r.enqueued_at = e.enqueued_at
    )
    select max(p.msg_id), count(*) from page p
  $q$, 'q_' || p_queue.queue_name) into v_last, v_count using p_queue.queue_id, p_gate.recall_after, p_gate.recall_since, p_now, c_page;
  update qctl.gate g set recall_after = case when v_count = c_page then v_last end where g.queue_id = p_queue.queue_id;
end
$$;
comment on function qctl._recall(qctl.queue, qctl.gate, timestamptz) is
  'After an outage: makes the next 1,000 messages that failed in it due. Each '
  'claim handles one page, so no step takes longer when there are more.';
