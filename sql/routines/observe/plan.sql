-- Planning: what an expected load needs, computed from the measured cost of a message.

create or replace function qctl._plan_costs()
returns table (claim_call_s double precision, claim_message_s double precision, settle_call_s double precision, settle_message_s double precision,
               capture_s double precision, process_message_s double precision, process_per_s double precision, message_bytes double precision)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- Measured on 2 cores of a cloud server with commits flushed to disk, with calls as far apart as at the seed's load. make
  -- bench-capacity measures again and checks the plan by a run.
  select 0.0021, 0.00002, 0.002, 0.000026, 0.00002, 0.000075, 5000, 500
$$;
comment on function qctl._plan_costs() is
  'Database seconds for a claim, a settle and a capture; seconds of a worker process for a message, and the messages per second of a '
  'process with room to spare; bytes of a delivered message and its attempt without the payload.';

create or replace function qctl.plan(
  p_per_s double precision, p_payload_bytes integer default 1024, p_latency_ms integer default 200, p_hours double precision default 24,
  p_transport text default null)
returns table (per_s double precision, transport text, workers integer, concurrency integer, batch integer, max_in_flight integer,
               in_flight double precision, database_cores double precision, worker_cores double precision,
               messages_per_month double precision, bytes_per_month double precision, reason text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  -- A worker claims again 10 ms after a claim that was not full, and settles the answers of 10 ms together; it waits for longer, up
  -- to 90 ms, until eight messages have come, if more than 10 a second do.
  c_look_s constant double precision := 0.01;
  c_linger_s constant double precision := 0.09;
  c_linger_messages constant double precision := 8;
  c_linger_from_per_s constant double precision := 10;
  c_broker_linger_s constant double precision := 0.25;
  c_broker_messages constant double precision := 500;
  v_look_s double precision;
  v_requests double precision;
  -- A pg_cron job takes four steps a second, and pg_net sends one batch a second.
  c_steps_per_s constant double precision := 4;
  c_net_delay_s constant double precision := 1;
  c_net_max_bytes constant integer := 48 * 1024;
  c_room constant double precision := 1.5;
  -- Measured by make bench-brokers: what a broker's library costs, and what a row of the attempt log does.
  c_broker_message_s constant double precision := 0.00025;
  c_broker_per_s constant double precision := 2500;
  c_log_message_s constant double precision := 0.000008;
  v_broker boolean := false;
  v_cost record;
  v_has_net boolean := to_regclass('net.http_request_queue') is not null and to_regclass('cron.job') is not null;
  v_net_per_s double precision := 200;
  v_claims_per_s double precision;
  v_settles_per_s double precision;
begin
  if p_per_s is null or not p_per_s > 0 or p_per_s > 10000000 then
    raise exception '% is not a valid rate', p_per_s using errcode = 'QC002', hint = 'use more than 0 and at most 10,000,000 messages/s';
  elsif coalesce(p_payload_bytes, -1) < 0 or coalesce(p_latency_ms, 0) < 1 or not coalesce(p_hours, 0) between 0.01 and 24 then
    raise exception 'a payload of % bytes, a latency of % ms or % hours a day is out of range', p_payload_bytes, p_latency_ms, p_hours
      using errcode = 'QC002', hint = 'use at least 0 bytes, at least 1 ms, and 0.01 to 24 hours';
  elsif p_transport not in ('pg_net', 'http', 'broker') then
    raise exception '% is not a transport', quote_literal(p_transport) using errcode = 'QC002', hint = 'use pg_net, http or broker';
  end if;
  select * into v_cost from qctl._plan_costs();
  if v_has_net then
    v_net_per_s := qctl._net_batch_size();
  end if;
  per_s := p_per_s;
  transport := coalesce(p_transport, case when v_has_net and p_per_s <= v_net_per_s / 2 and p_latency_ms <= 1000 and p_payload_bytes <= c_net_max_bytes
                                          then 'pg_net' else 'http' end);
  if transport = 'pg_net' then
    workers := 1;
    in_flight := p_per_s * (p_latency_ms / 1000.0 + 2 * c_net_delay_s);
    v_requests := in_flight;
    batch := ceil(greatest(25, p_per_s / c_steps_per_s * 2));
    v_claims_per_s := least(c_steps_per_s, p_per_s);
    v_settles_per_s := v_claims_per_s;
    worker_cores := 0;
    reason := case
      when p_per_s > v_net_per_s * 0.9
        then format('this load needs http because pg_net sends about %s requests/s for all queues together', v_net_per_s)
      when p_payload_bytes > c_net_max_bytes then 'this load needs http because some versions of pg_net do not send bodies over 48 KiB'
      when p_latency_ms > 1000 then 'http is better for this endpoint because in pg_net one slow answer delays its whole batch'
      else format('%s %% of the throughput of pg_net; no worker process is needed', round((p_per_s / v_net_per_s * 100)::numeric)) end;
  else
    v_broker := transport = 'broker';
    workers := ceil(p_per_s / case when v_broker then c_broker_per_s else v_cost.process_per_s end);
    v_requests := p_per_s * p_latency_ms / 1000.0;
    v_look_s := greatest(c_look_s, case when p_per_s / workers < c_linger_from_per_s then 0
                                        when v_broker then least(c_broker_linger_s, c_broker_messages / p_per_s * workers)
                                        else least(c_linger_s, c_linger_messages / p_per_s * workers) end);
    -- Writers of a slow queue notify of each message.
    v_claims_per_s := case when p_per_s / workers < c_linger_from_per_s then p_per_s else workers / (v_look_s + v_cost.claim_call_s) * (1 - exp(greatest(-700, -5 * p_per_s / workers * (v_look_s + v_cost.claim_call_s)))) end;
    v_settles_per_s := p_per_s / (1 + p_per_s / workers * v_look_s);
    -- Answers wait for their settle.
    in_flight := v_requests + p_per_s * v_look_s;
    batch := ceil(greatest(1, p_per_s / v_claims_per_s));
    worker_cores := p_per_s * case when v_broker then c_broker_message_s else v_cost.process_message_s end;
    reason := case when v_broker then 'a worker hands over to a broker with --log failures; the retries are the broker''s and its consumers'''
    else format('%s requests in flight, with room for half as many more%s', ceil(v_requests),
      case when p_transport is not null then ''
           when not v_has_net then '; pg_net and pg_cron are not available'
           when p_per_s > v_net_per_s / 2 then format('; more than half of the throughput of pg_net (%s/s)', v_net_per_s)
           when p_payload_bytes > c_net_max_bytes then '; bodies over 48 KiB'
           else '; in pg_net such slow answers delay other requests' end) end;
  end if;
  concurrency := greatest(1, ceil(v_requests * c_room / workers));
  max_in_flight := greatest(200, ceil(in_flight * c_room * 4));
  database_cores := v_claims_per_s * v_cost.claim_call_s + v_settles_per_s * v_cost.settle_call_s
                    + p_per_s * (v_cost.claim_message_s + v_cost.settle_message_s + v_cost.capture_s - case when v_broker then c_log_message_s else 0 end);
  messages_per_month := p_per_s * 3600 * p_hours * 30;
  bytes_per_month := messages_per_month * (v_cost.message_bytes + p_payload_bytes);
  return next;
end
$$;
comment on function qctl.plan(double precision, integer, integer, double precision, text) is
  'What p_per_s messages per second need: transport, worker processes or jobs, settings, CPU cores of the database and of the workers, and '
  'disk for 30 days of p_hours each. p_transport null: choose one; broker: hand over. An estimate from measured costs, not a guarantee.';

create or replace function qctl.database_share()
returns table (per_s double precision, share double precision, handed_over double precision, queue_name text, transport text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
  c_over_s constant double precision := 600;
begin
  return query
  with busy as (
    select q.queue_name, case when qctl._carrier(q.url) <> 'http' then 'broker' else q.transport end as transport, c.delivered / c_over_s as per_s
    from qctl.queue q
    cross join lateral qctl._counts(q.queue_id, statement_timestamp() - make_interval(secs => c_over_s)) c
    where c.delivered > c_over_s
  )
  select sum(b.per_s), sum(n.database_cores), sum(h.database_cores), (array_agg(b.queue_name order by b.per_s desc))[1],
         (array_agg(b.transport order by b.per_s desc))[1]
  from busy b
  cross join lateral qctl.plan(b.per_s, p_transport => b.transport) n
  cross join lateral qctl.plan(b.per_s, p_transport => 'broker') h
  having count(*) > 0;
end
$$;
comment on function qctl.database_share() is
  'The share of a core that delivery takes from the database at the rate of the last 10 min, of queues with more than one message a second, '
  'by the measured costs of qctl.plan; what handing over would take; and the queue with most messages. No row: no such queue.';
