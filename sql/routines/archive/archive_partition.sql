-- Date partitions of an archive; retention then drops whole partitions.

create or replace function qctl._is_partitioned(p_queue text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from pg_class c where c.oid = to_regclass(format('pgmq.%I', 'a_' || p_queue)) and c.relkind = 'p');
end
$$;
comment on function qctl._is_partitioned(text) is 'True if the archive of this queue is partitioned.';

create or replace function qctl._hold_archive(p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('lock table only pgmq.%I in row exclusive mode', 'a_' || p_queue);
end
$$;
comment on function qctl._hold_archive(text) is
  'Locks the archive until the transaction ends because another session could replace it by a partitioned table.';

create or replace function qctl._archive_conflict(p_queue text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when qctl._is_partitioned(p_queue) then ''
              else 'on conflict (msg_id) do update
                    set (read_ct, enqueued_at, archived_at, vt, message, headers)
                      = (excluded.read_ct, excluded.enqueued_at, excluded.archived_at, excluded.vt, excluded.message, excluded.headers)' end;
end
$$;
comment on function qctl._archive_conflict(text) is
  'The ON CONFLICT clause of an insert into the archive. It is empty for a partitioned archive because msg_id cannot be unique there; a '
  'second row with the same id is added.';

create or replace function qctl._retain_partitions(p_queue qctl.queue) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  execute format('update %I.part_config set retention = $1, retention_keep_table = false, retention_keep_index = false,
                  infinite_time_partitions = true where parent_table = $2', qctl._partman())
    using make_interval(secs => p_queue.retention_s)::text, 'pgmq.a_' || p_queue.queue_name;
end
$$;
comment on function qctl._retain_partitions(qctl.queue) is
  'Sets the retention of the queue in pg_partman. Without a retention pg_partman keeps everything.';

create or replace function qctl._replace_archive(p_queue text, p_interval text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_archive constant text := format('pgmq.%I', 'a_' || p_queue);
  v_old constant text := format('pgmq.%I', 'a_' || p_queue || '_old');
begin
  execute format('alter table %s rename to %I', v_archive, 'a_' || p_queue || '_old');
  execute format('alter index if exists pgmq.%I rename to %I', 'archived_at_idx_' || p_queue, 'archived_old_' || p_queue);
  -- Without its primary key, which lacks the column of the partitions.
  execute format('create table %s (like %s including defaults including generated including storage including comments) partition by range (archived_at)',
                 v_archive, v_old);
  execute format('create index %I on %s (archived_at)', 'archived_at_idx_' || p_queue, v_archive);
  execute format('create index on %s (msg_id)', v_archive);
  perform qctl._grant_alike(to_regclass(v_old)::oid, v_archive);
  perform qctl._create_parent('pgmq.a_' || p_queue, 'archived_at', p_interval);
end
$$;
comment on function qctl._replace_archive(text, text) is
  'Puts a partitioned table in the place of the archive, whose rows stay in a_QUEUE_old. Not by pgmq''s function: up to 1.5 that knows only partitions by msg_id.';

create or replace function qctl.partition_archive(p_queue text, p_interval text default 'daily')
returns table (table_name text, partitions integer, to_move bigint, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_a text := 'a_' || p_queue;
  v_interval text := qctl._partition_interval(p_interval);
  v_old oid;
begin
  changed := not qctl._is_partitioned(p_queue);
  if changed then
    perform qctl._need_partman();
    -- Sessions that read or settle are waited for no longer than this.
    set local lock_timeout = '2s';
    v_old := to_regclass(format('pgmq.%I', v_a));
    if v_old is null then
      raise exception 'queue ''%'' has no archive', p_queue using errcode = 'QC006', hint = 'qctl verify';
    end if;
    perform qctl._replace_archive(p_queue, v_interval);
    perform qctl._retain_partitions(v_queue);
    perform qctl._make_queue_functions(v_queue);
    perform qctl._audit('partition', p_queue, jsonb_build_object('interval', p_interval));
  end if;
  table_name := 'pgmq.' || v_a;
  select count(*) into partitions from pg_inherits i where i.inhparent = to_regclass(format('pgmq.%I', v_a));
  to_move := 0;
  if to_regclass(format('pgmq.%I', v_a || '_old')) is not null then
    to_move := qctl._about_rows(to_regclass(format('pgmq.%I', v_a || '_old')));
    if to_move = 0 then
      execute format('drop table pgmq.%I', v_a || '_old');
    end if;
  end if;
  return next;
end
$$;
comment on function qctl.partition_archive(text, text) is
  'Partitions the archive by date: hourly, daily, weekly or monthly. Existing rows stay in a separate table until qctl.move_archived() '
  'moves them, call by call; until then no command sees them.';

create or replace function qctl.move_archived(p_queue text, p_rows integer default 50000) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_archive text := 'pgmq.a_' || (qctl._queue(p_queue)).queue_name;
begin
  return qctl._move_into_partitions(v_archive, v_archive || '_old', 'archived_at', p_rows);
end
$$;
comment on function qctl.move_archived(text, integer) is
  'Moves about p_rows rows that were archived before the partitioning, the newest first; returns how many. When none is left, it drops '
  'the old table and returns 0.';

create or replace function qctl.purge_partitions(p_queue text, p_older_than interval) returns table (partitions integer, messages bigint, until timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  v_parent text := 'pgmq.a_' || (qctl._queue(p_queue)).queue_name;
  v_part record;
  v_counts jsonb := '{}';
  v_rows bigint;
begin
  if p_older_than is null or p_older_than < interval '0' then
    raise exception '% is not a valid age', p_older_than using errcode = 'QC002', hint = 'use 0 or more, for example 7 days';
  end if;
  partitions := 0;
  messages := 0;
  if not qctl._is_partitioned(p_queue) then
    return;
  end if;
  for v_part in select c.oid::regclass as name, c.reltuples from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = v_parent::regclass loop
    if v_part.reltuples < 0 then
      execute format('select count(*) from %s', v_part.name) into v_rows;
    else
      v_rows := v_part.reltuples;
    end if;
    v_counts := v_counts || jsonb_build_object(v_part.name::text, v_rows);
  end loop;
  partitions := qctl._drop_partitions(v_parent, p_older_than);
  select coalesce(sum(c.value::bigint), 0) into messages from jsonb_each_text(v_counts) c where to_regclass(c.key) is null;
  execute format('select coalesce(min(archived_at), now() - $1) from %s', v_parent) into until using p_older_than;
  if partitions > 0 then
    perform qctl._audit('purge', p_queue, jsonb_build_object('older_than', p_older_than, 'partitions', partitions, 'messages', messages));
  end if;
  return next;
end
$$;
comment on function qctl.purge_partitions(text, interval) is
  'Drops partitions of the archive in which every message is older than that, including messages archived by other programs. '
  'The number of messages is the planner''s estimate.';
