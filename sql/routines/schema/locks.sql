-- Advisory locks: every number that qctl uses, by name. Two places repeat numbers because schema qctl may not exist yet: install,
-- upgrade and uninstall take (1902343277, 1), and sql/queries/job_pids.sql reads both job locks.

create or replace function qctl._lock_space(p_name text) returns integer
language sql immutable parallel safe
return case p_name
  when 'sleeper' then 1902343276         -- with queue_id: exclusive while a worker sleeps, tried shared by writers; 'qctl' in ASCII
  when 'singleton' then 1902343277       -- with qctl._lock_key(): steps that one session at a time may run
  when 'job_slot' then 1902343278        -- with the slot: a running CALL of qctl.work()
  when 'job_queue' then 1902343279       -- with queue_id: a running CALL of qctl.work(queue)
  when 'settle_answers' then 1902343280  -- with queue_id: settling answers of pg_net
  when 'capture_error' then 1902343281   -- with attachment_id: counting skipped events
  when 'drop_log' then 1902343282        -- alone: dropping partitions of the attempt log
  when 'backfill' then 1902343283        -- with queue_id: beginning a backfill
end;
comment on function qctl._lock_space(text) is 'The first number of an advisory lock, or its only number; null for an unknown name.';

create or replace function qctl._lock_key(p_name text) returns integer
language sql immutable parallel safe
return case p_name when 'upkeep' then 0 when 'install' then 1 when 'net_epoch' then 2 when 'plan_jobs' then 3 when 'dispatch' then 4
                    when 'wake_edge' then 5 end;
comment on function qctl._lock_key(text) is 'The second number of an advisory lock whose first number is qctl._lock_space(''singleton'').';
