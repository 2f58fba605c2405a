-- Functions kept for one release because code of 0.6.0 still calls them during an upgrade: running claims, settles and CALLs,
-- and worker processes.

create or replace function qctl._note_answers(
  p_queue qctl.queue, p_alive integer, p_failed integer, p_failing_since timestamptz, p_probe_alive boolean, p_retry_after_s integer, p_error text)
returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select qctl._record_answers(p_queue, (p_alive, p_failed, 0, p_failing_since, case when p_probe_alive then 'alive' when not p_probe_alive then 'outage' end,
                                        p_retry_after_s, p_error)::qctl.answer_counts)
$$;

create or replace function qctl._unseen(p_relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select qctl._is_hidden(p_relation)
$$;

create or replace function qctl._work_nap_s(p_run qctl.work_run, p_moved integer) returns double precision
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select qctl._work_sleep_s(p_run, p_moved)
$$;

create or replace function qctl.sign_off(p_worker_id bigint) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select qctl.unregister_worker(p_worker_id)
$$;

comment on function qctl._note_answers(qctl.queue, integer, integer, timestamptz, boolean, integer, text) is 'qctl._record_answers() of 0.6.0.';
comment on function qctl._unseen(regclass) is 'qctl._is_hidden() of 0.6.0.';
comment on function qctl._work_nap_s(qctl.work_run, integer) is 'qctl._work_sleep_s() of 0.6.0.';
comment on function qctl.sign_off(bigint) is 'qctl.unregister_worker() of 0.6.0.';
