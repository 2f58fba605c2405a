-- Date partitions of the attempt log, which all queues share, and the removal of attempts whose message is gone.

create or replace function qctl._is_log_partitioned() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.relkind = 'p' from pg_class c where c.oid = 'qctl.attempt'::regclass
$$;
comment on function qctl._is_log_partitioned() is 'True if the attempt log is partitioned.';

create or replace function qctl._upon_log() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(o.name, ', ')
  from (select distinct r.ev_class::regclass::text as name
        from pg_depend d join pg_rewrite r on r.oid = d.objid
        where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = 'qctl.attempt'::regclass
        union all
        select 'trigger ' || quote_ident(t.tgname) from pg_trigger t where t.tgrelid = 'qctl.attempt'::regclass and not t.tgisinternal
        union all
        select 'policy ' || quote_ident(p.polname) from pg_policy p where p.polrelid = 'qctl.attempt'::regclass
        union all
        select 'publication ' || quote_ident(b.pubname) from pg_publication_rel r join pg_publication b on b.oid = r.prpubid
        where r.prrelid = 'qctl.attempt'::regclass) o
$$;
comment on function qctl._upon_log() is
  'Views, triggers, policies and publications on the attempt log that do not belong to qctl; null if there are none.';

create or replace function qctl.partition_attempts(p_interval text default 'daily', p_only_empty boolean default false)
returns table (table_name text, partitions integer, to_move bigint, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_interval text := qctl._partition_interval(p_interval);
  v_old oid := 'qctl.attempt'::regclass;
  v_owner name := (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = v_old);
begin
  changed := not qctl._is_log_partitioned() and not (p_only_empty and exists (select from qctl.attempt));
  if changed then
    -- A partition belongs to the role that creates it, and the maintenance of the log's owner must be able to drop it.
    if v_owner <> current_user then
      raise exception 'the attempt log belongs to role ''%'', but the current role is ''%''', v_owner, current_user
        using errcode = 'QC004', hint = format('connect as %s', v_owner);
    end if;
    perform qctl._need_partman();
    -- Sessions that read or settle are waited for no longer than this.
    set local lock_timeout = '2s';
    lock table qctl.attempt;
    if qctl._upon_log() is not null then
      raise exception 'the attempt log cannot be partitioned because other objects depend on it: %', qctl._upon_log()
        using errcode = 'QC007', hint = 'drop them and create them again afterwards, because the partitioned log is a new table';
    end if;
    alter table qctl.attempt rename to attempt_old;
    alter index qctl.attempt_pkey rename to attempt_old_pkey;
    alter index qctl.attempt_settled_idx rename to attempt_old_settled_idx;
    alter index qctl.attempt_failed_idx rename to attempt_old_failed_idx;
    create table qctl.attempt (like qctl.attempt_old including defaults including constraints including comments including storage)
      partition by range (settled_at);
    alter table qctl.attempt add constraint attempt_pkey primary key (queue_id, msg_id, delivery_no, attempt_no, settled_at);
    create index attempt_settled_idx on qctl.attempt (queue_id, settled_at);
    create index attempt_failed_idx on qctl.attempt (queue_id, settled_at) where outcome <> 'delivered';
    execute format('comment on table qctl.attempt is %L', obj_description(v_old, 'pg_class'));
    perform qctl._grant_alike(v_old, 'qctl.attempt');
    perform qctl._create_parent('qctl.attempt', 'settled_at', v_interval);
    update qctl.object k set (definition, server_version) = (o.definition, current_setting('server_version_num')::integer / 10000)
    from qctl._objects() o
    where (k.kind, k.identity) = (o.kind, o.identity)
      and (k.kind = 'index' and k.identity like 'qctl.attempt\_%' or k.kind = 'constraint' and k.identity like '% on qctl.attempt');
    perform qctl._audit('partition', null, jsonb_build_object('interval', p_interval));
  end if;
  table_name := 'qctl.attempt';
  select count(*) into partitions from pg_inherits i where i.inhparent = 'qctl.attempt'::regclass;
  to_move := 0;
  if to_regclass('qctl.attempt_old') is not null then
    to_move := qctl._about_rows('qctl.attempt_old');
    if to_move = 0 then
      drop table qctl.attempt_old;
    end if;
  end if;
  return next;
end
$$;
comment on function qctl.partition_attempts(text, boolean) is
  'Partitions the attempt log, which all queues share, by date: hourly, daily, weekly or monthly. Existing rows stay in a separate table '
  'until qctl.move_attempts() moves them, call by call; until then no command sees them. p_only_empty: do nothing unless the log is empty.';

create or replace function qctl.move_attempts(p_rows integer default 50000) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('qctl.attempt_old') is not null and to_regclass('qctl.attempt_old_at_idx') is null then
    create index attempt_old_at_idx on qctl.attempt_old (settled_at);
  end if;
  return qctl._move_into_partitions('qctl.attempt', 'qctl.attempt_old', 'settled_at', p_rows);
end
$$;
comment on function qctl.move_attempts(integer) is
  'Moves about p_rows attempts that were logged before the partitioning, the newest first; returns how many. When none is left, it drops '
  'the old table and returns 0.';

create or replace function qctl._log_needed_from() returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- An attempt without an answer is logged up to a day later, dated by the end of its lease.
  v_from timestamptz := now() - interval '25 h';
  v_oldest timestamptz;
  v_archive regclass;
  v_queue text;
begin
  if to_regclass('qctl.attempt_old') is not null then
    return null;
  end if;
  for v_queue in select q.queue_name from qctl.queue q loop
    v_archive := to_regclass(format('pgmq.%I', 'a_' || v_queue));
    continue when v_archive is null;
    if qctl._is_hidden(v_archive) or to_regclass(format('pgmq.%I', 'a_' || v_queue || '_old')) is not null then
      return null;
    end if;
    execute format('select min(a.archived_at) from %s a', v_archive) into v_oldest;
    v_from := least(v_from, v_oldest);
  end loop;
  return v_from;
end
$$;
comment on function qctl._log_needed_from() is
  'The time of the oldest archived message of any queue; older log entries are of no use. Null if an archive cannot be read or rows are '
  'being moved into partitions.';

create or replace function qctl._drop_log(p_tries integer) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_from timestamptz := qctl._log_needed_from();
  v_default regclass := qctl._default_partition('qctl.attempt');
  v_part record;
  v_end timestamptz;
  v_counts jsonb := '{}';
  v_archived text;
  v_dropped bigint;
  v_kept bigint;
begin
  if not pg_try_advisory_xact_lock(qctl._lock_space('drop_log')) then
    return 0;
  end if;
  for v_part in select b.name, b.ends from qctl._partition_bounds('qctl.attempt') b where b.ends <= v_from loop
    v_end := greatest(v_end, v_part.ends);
    v_counts := v_counts || jsonb_build_object(v_part.name::text, qctl._about_rows(v_part.name));
  end loop;
  if v_end is null then
    return 0;
  end if;
  -- Unfinished messages, dead letters and messages delivered late keep their log: its rows move to the default partition.
  -- One statement, because a message may move between these tables at any time.
  select string_agg(format('t.queue_id = %s and exists (select from %s a where a.msg_id = t.msg_id)', q.queue_id,
                           to_regclass(format('pgmq.%I', 'a_' || q.queue_name))), ' or ') into v_archived
  from qctl.queue q where to_regclass(format('pgmq.%I', 'a_' || q.queue_name)) is not null;
  execute format($q$
    create temporary table qctl_kept_attempt on commit drop as
    select t.* from (select r.queue_id, r.msg_id from qctl.retry r union select d.queue_id, d.msg_id from qctl.dead_letter d
                     union select f.queue_id, f.msg_id from qctl.in_flight f) as m
    join qctl.attempt t on t.queue_id = m.queue_id and t.msg_id = m.msg_id and t.settled_at < $1
    union all
    select t.* from qctl.attempt t where t.settled_at < $1 and t.outcome <> 'delivered' and (%s)
  $q$, coalesce(v_archived, 'false')) using v_end;
  -- pg_partman drops partitions that end before the retention, but not one that ends exactly there.
  perform qctl._drop_partitions('qctl.attempt', now() - v_end - interval '1 s', p_tries);
  select coalesce(sum(c.value::bigint), 0) into v_dropped from jsonb_each_text(v_counts) c where to_regclass(c.key) is null;
  if v_default is not null then
    execute format('delete from %s t where t.settled_at < $1', v_default) using v_end;
  end if;
  insert into qctl.attempt select k.* from pg_temp.qctl_kept_attempt k on conflict do nothing;
  get diagnostics v_kept = row_count;
  drop table pg_temp.qctl_kept_attempt;
  return greatest(v_dropped - v_kept, 0);
end
$$;
comment on function qctl._drop_log(integer) is
  'Drops the partitions of the attempt log that are older than every archived '
  'message; returns the planner''s estimate of the attempts dropped.';

create or replace function qctl.purge_attempts(p_queue text, p_before timestamptz, p_limit integer default 20000) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_count integer;
begin
  perform qctl._add_up(least(p_before, clock_timestamp()));
  if qctl._is_log_partitioned() then
    return qctl._drop_log(100);
  end if;
  -- Messages that are being moved into partitions are in neither table that is checked below.
  if to_regclass(format('pgmq.%I', 'a_' || p_queue || '_old')) is not null then
    return 0;
  end if;
  execute format($q$
    with old as materialized (
      select t.ctid from qctl.attempt t
      where t.queue_id = $1 and t.settled_at < $2
        and not exists (select from pgmq.%1$I q where q.msg_id = t.msg_id)
        and not exists (select from pgmq.%2$I a where a.msg_id = t.msg_id)
        and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = t.msg_id)
      order by t.settled_at limit $3
    )
    delete from qctl.attempt t using old o where t.ctid = o.ctid
  $q$, 'q_' || p_queue, 'a_' || p_queue) using v_queue.queue_id, p_before, p_limit;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function qctl.purge_attempts(text, timestamptz, integer) is
  'Deletes a batch of attempts that were settled before p_before and whose message is gone, for example with a dropped partition. If the '
  'log is partitioned, drops the partitions that no queue needs. Call it until it returns 0.';

create or replace function qctl._retain_log() returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue text;
  v_oldest timestamptz;
  v_count bigint := 0;
begin
  if not exists (select from qctl.upkept u where u.retained_at is null or u.retained_at < clock_timestamp() - interval '10 min') then
    return 0;
  end if;
  if qctl._is_log_partitioned() then
    set local lock_timeout = '50ms';
    begin
      perform qctl._maintain_partitions('qctl.attempt', 'settled_at');
    exception when others then
      perform qctl._audit_rarely('retention_failed', null, sqlstate, sqlerrm);
    end;
    perform qctl._drop_log(1);
    return 0;
  end if;
  for v_queue in select q.queue_name from qctl.queue q where qctl._is_partitioned(q.queue_name) and q.retention_s is not null loop
    execute format('select min(a.archived_at) from pgmq.%I a', 'a_' || v_queue) into v_oldest;
    v_count := v_count + qctl.purge_attempts(v_queue, least(v_oldest, now() - interval '25 h'));
  end loop;
  return v_count;
exception when others then
  perform qctl._audit_rarely('retention_failed', null, sqlstate, sqlerrm);
  return 0;
end
$$;
comment on function qctl._retain_log() is
  'Removes attempts whose messages were dropped with their partitions: drops partitions of the log or deletes a batch. Returns how many it '
  'deleted, 0 if none is left.';
