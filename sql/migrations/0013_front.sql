-- Claims count live leases from the oldest one on, so that they do not read those that ended. CREATE INDEX locks qctl.in_flight
-- against claims and settles for milliseconds, because the table holds what is in flight only.
-- The condition on claimed_at always holds. Only the count has it, so that no other query uses this index in place of one by msg_id,
-- as the planner would while the table is small.
create index in_flight_front_idx on qctl.in_flight (queue_id, claimed_at) where lapsed_at is null and claimed_at > '-infinity';
comment on index qctl.in_flight_front_idx is 'What a claim counts: the live leases of a queue from the oldest one on.';
comment on index qctl.in_flight_live_idx is 'A message has one live lease; also what a lapse reads, never more than max_in_flight rows.';
