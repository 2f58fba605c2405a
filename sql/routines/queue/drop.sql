-- Drop: removes a queue; its archive stays unless the caller drops it too.

create or replace function qctl._archive_dead(p_queue qctl.queue) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
  v_last bigint := 0;
begin
  if to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name)) is null then
    if exists (select from qctl.dead_letter d where d.queue_id = p_queue.queue_id) then
      raise exception 'queue ''%'' has dead letters but no archive that could keep them', p_queue.queue_name
        using errcode = 'QC007', hint = format('to delete them: qctl drop %s --with-archive', p_queue.queue_name);
    end if;
    return 0;
  end if;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is not null then
    execute format('select coalesce(max(msg_id), 0) from pgmq.%I', 'q_' || p_queue.queue_name) into v_last;
  end if;
  execute format($q$
    with dead as (
      delete from qctl.dead_letter d where d.queue_id = $1 returning d.*
    ), ranked as (
      select d.*, row_number() over (partition by d.msg_id order by d.enqueued_at desc) > 1
                  or exists (select from pgmq.%1$I a where a.msg_id = d.msg_id) as taken
      from dead d
    ), numbered as (
      -- An id that was assigned twice: the other message keeps it; this one gets a new id and records the old one in its headers.
      select r.*, case when r.taken then (select coalesce(max(a.msg_id), 0) from pgmq.%1$I a)
                                         + (select max(m.msg_id) from dead m) + $2 + row_number() over (partition by r.taken)
                       else r.msg_id end as number
      from ranked r
    ), archived as (
      insert into pgmq.%1$I as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
      select d.number, d.read_ct, d.enqueued_at, d.died_at, d.died_at, d.message,
             case when jsonb_typeof(d.headers) = 'object' then d.headers else '{}' end
             || jsonb_build_object('qctl', jsonb_strip_nulls(jsonb_build_object(
                  'outcome', 'dead', 'reason', d.reason, 'note', d.note, 'status', d.status_code, 'error', d.error,
                  'attempts', d.attempts, 'delivery_no', d.delivery_no, 'webhook_id', d.webhook_id,
                  'msg_id', case when d.taken then d.msg_id end)))
      from numbered d
      returning 1
    )
    select count(*) from archived
  $q$, 'a_' || p_queue.queue_name) into v_count using p_queue.queue_id, v_last;
  return v_count;
end
$$;
comment on function qctl._archive_dead(qctl.queue) is
  'Moves the dead letters of a queue to its archive, which outlives the queue; returns how many.';

create or replace function qctl._drop_begin(p_queue text, p_discard boolean default false) returns table (discarded bigint, dead bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  discarded := 0;
  if p_discard and to_regclass(format('pgmq.%I', 'q_' || p_queue)) is not null then
    discarded := cardinality(qctl._discard(v_queue, null, 'the queue was dropped'));
  end if;
  dead := qctl._archive_dead(v_queue);
  return next;
end
$$;
comment on function qctl._drop_begin(text, boolean) is
  'Moves dead letters to the archive, and with p_discard every unfinished message. This is the long part of a drop, so it runs before a '
  'table of the application is locked. Returns how many messages were discarded and how many dead letters were moved.';

create or replace function qctl.undelivered(p_queue text)
returns table (queue_name text, unfinished bigint, dead bigint, archived bigint, attached bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  queue_name := p_queue;
  if not qctl._is_hidden(to_regclass(format('pgmq.%I', 'q_' || p_queue))) then
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into unfinished;
  end if;
  if not qctl._is_hidden(to_regclass(format('pgmq.%I', 'a_' || p_queue))) then
    execute format('select count(*) from pgmq.%I', 'a_' || p_queue) into archived;
  end if;
  select count(*) into dead from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
  select count(*) into attached from qctl.attachment a where a.queue_id = v_queue.queue_id;
  return next;
end
$$;
comment on function qctl.undelivered(text) is
  'Counts what a drop of the queue would discard. Null where row level security or a missing privilege hides the rows.';

create or replace function qctl._refuse_unfinished(p_queue text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
  v_unfinished bigint;
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue)) is not null then
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into v_unfinished;
    if v_unfinished > 0 then
      raise exception 'queue ''%'' holds % unfinished messages', p_queue, v_unfinished
        using errcode = 'QC007', hint = 'to discard them: --discard; they are moved to the archive undelivered';
    end if;
  end if;
end
$$;

create or replace function qctl.drop_queue(p_queue text, p_discard boolean default false, p_with_archive boolean default false, p_if_exists boolean default false)
returns table (queue_name text, discarded bigint, dead bigint, archived bigint, archive text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
  v_relation oid;
  v_q text := 'q_' || p_queue;
  v_a text := 'a_' || p_queue;
  v_late bigint := 0;
begin
  if p_if_exists and not exists (select from qctl.queue q where q.queue_name = p_queue) then
    return;
  end if;
  v_queue := qctl._queue(p_queue);
  -- row_security is off so that a policy that hides messages raises an error; otherwise the queue would look empty.
  queue_name := p_queue;
  -- What takes long comes before the tables that the application writes are locked. The gate keeps workers out meanwhile.
  perform from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  perform qctl._refuse_unfinished(p_queue) where not p_discard;
  if not p_with_archive then
    select b.discarded, b.dead into discarded, dead from qctl._drop_begin(p_queue, p_discard) b;
  else
    discarded := case when not p_discard or to_regclass(format('pgmq.%I', v_q)) is null then 0 else cardinality(qctl._discard(v_queue, null, 'the queue was dropped')) end;
    delete from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
    get diagnostics dead = row_count;
  end if;
  if to_regclass(format('pgmq.%I', v_a)) is not null then
    execute format('select count(*) from pgmq.%I', v_a) into archived;
  end if;
  perform qctl._lock_tables('{}', array(
    select p.relation::oid from qctl.attachment a, qctl._present_triggers(a) p where a.queue_id = v_queue.queue_id
    union select c.oid from pg_class c where c.oid = to_regclass(format('pgmq.%I', v_q))));
  -- Triggers are dropped first so that no writer finds the queue table missing.
  perform qctl._drop_backfill_functions(b.backfill_id) from qctl.backfill b where b.queue_id = v_queue.queue_id;
  delete from qctl.backfill b where b.queue_id = v_queue.queue_id;
  for v_relation in select a.relation from qctl.attachment a where a.queue_id = v_queue.queue_id order by 1 loop
    perform qctl.detach(v_relation::text, p_queue);
  end loop;
  if to_regclass(format('pgmq.%I', v_q)) is not null then
    execute format('lock table pgmq.%I in access exclusive mode', v_q);
    perform qctl._refuse_unfinished(p_queue) where not p_discard;
    v_late := case when p_discard then cardinality(qctl._discard(v_queue, null, 'the queue was dropped')) else 0 end;
  end if;
  discarded := discarded + v_late;
  dead := dead + v_late;
  if not p_with_archive and v_late > 0 then
    archived := archived + qctl._archive_dead(v_queue);
  end if;

  perform qctl._take_out(p_queue);
  if p_with_archive then
    execute format('drop table if exists pgmq.%I, pgmq.%I, pgmq.%I', v_q, v_a, v_a || '_old');
    if qctl._partman() is not null then
      execute format('delete from %I.part_config where parent_table = $1', qctl._partman()) using 'pgmq.' || v_a;
      execute format('drop table if exists %I.%I', qctl._partman(), 'template_pgmq_' || v_a);
    end if;
    archive := null;
  else
    execute format('drop table if exists pgmq.%I', v_q);
    archive := case when to_regclass(format('pgmq.%I', v_a)) is not null then format('pgmq.%I', v_a) end;
  end if;
  if to_regclass('pgmq.meta') is not null then
    delete from pgmq.meta m where m.queue_name = p_queue;
  end if;
  execute format('drop view if exists qctl.%I', v_queue.queue_name || '_status');
  perform qctl._drop_queue_functions(v_queue.queue_uuid);
  delete from qctl.in_flight f where f.queue_id = v_queue.queue_id;
  delete from qctl.retry r where r.queue_id = v_queue.queue_id;
  delete from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
  delete from qctl.queue q where q.queue_id = v_queue.queue_id;
  perform qctl._plan_jobs(false);
  perform qctl._audit('drop', p_queue, jsonb_build_object('discarded', discarded, 'dead', dead, 'archive', archive));
  return next;
end
$$;
comment on function qctl.drop_queue(text, boolean, boolean, boolean) is
  'Drops a queue: triggers, settings and pgmq''s table. Fails if the queue has unfinished messages, unless p_discard is true. The archive '
  'stays and receives dead letters and discarded messages, unless p_with_archive is true. Maintenance deletes the attempt log later.';
