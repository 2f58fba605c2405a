-- Claims count live leases from the oldest one on, so that they do not read those that ended. CREATE INDEX locks qctl.in_flight
-- against claims and settles for milliseconds, because the table holds what is in flight only.
-- The condition on claimed_at always holds. Only the count has it, so that no other query uses this index in place of one by msg_id,
-- as the planner would while the table is small.
create index in_flight_front_idx on qctl.in_flight (queue_id, claimed_at) where lapsed_at is null and claimed_at > '-infinity';
comment on index qctl.in_flight_front_idx is 'What a claim counts: the live leases of a queue from the oldest one on.';
comment on index qctl.in_flight_live_idx is 'A message has one live lease; also what a lapse reads, never more than max_in_flight rows.';

-- What settle decides of each answer, between its steps.
create type qctl.judged as (
  msg_id bigint, enqueued_at timestamptz, lease uuid, delivery_no integer, attempt_no integer, worker_id bigint, transport text,
  claimed_at timestamptz, lapsed_at timestamptz, order_key text,
  status integer, error text, response bytea, duration_ms integer, retry_after_s integer,
  waiting boolean, noted boolean, attempts integer, spent integer, rejected integer, lost integer, webhook_id text,
  outcome text, next_at timestamptz
);
comment on type qctl.judged is
  'An answer and its outcome: the lease it belongs to, the answer, what is known of the message (waiting: it is in the queue; noted: it has '
  'a retry; spent: attempts that this one costs), and what becomes of it.';

-- See the end of preflight.sql.
do $$
declare
  v_function record;
begin
  for v_function in
    select p.oid::regprocedure as function, substring(p.proname from '^kept_(.*)$') as name from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and p.proname ~ '^kept_capture_[0-9]+_(key|row|order)$'
  loop
    execute format('alter function %s rename to %I', v_function.function, v_function.name);
  end loop;
end
$$;
