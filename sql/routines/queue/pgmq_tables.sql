-- The tables that pgmq keeps for a queue: out of the extension, so that a dump has them, and there again when they were lost.

create or replace function qctl._member_tables(p_queue text) returns table (relation regclass, kind text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.oid::regclass, case c.relkind when 'S' then 'sequence' else 'table' end
  from pg_depend d join pg_class c on c.oid = d.objid
  where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
    and d.refobjid = (select e.oid from pg_extension e where e.extname = 'pgmq')
    and c.relnamespace = to_regnamespace('pgmq')
    and (c.relname in ('q_' || p_queue, 'q_' || p_queue || '_msg_id_seq', 'a_' || p_queue, 'a_' || p_queue || '_old')
         or exists (select from pg_inherits i where i.inhrelid = c.oid and i.inhparent = to_regclass(format('pgmq.%I', 'a_' || p_queue))))
  order by c.relkind desc, c.relname
$$;
comment on function qctl._member_tables(text) is
  'Tables and the sequence of a queue that are members of the extension, as pgmq up to 1.5 makes them: pg_dump leaves them out.';

create or replace function qctl._take_out(p_queue text) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_member record;
begin
  for v_member in select * from qctl._member_tables(p_queue) m loop
    execute format('alter extension pgmq drop %s %s', v_member.kind, v_member.relation);
  end loop;
  return true;
exception when insufficient_privilege then
  return false;
end
$$;
comment on function qctl._take_out(text) is
  'Takes a queue''s tables and sequence out of the extension, so that dumps have them and qctl can drop them. False where the role may not: doctor says so.';

create or replace function qctl._make_pgmq_queue(p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_namesakes text;
begin
  perform pgmq.create(p_queue);
exception when cardinality_violation then
  select string_agg(c.oid::regclass::text, ', ' order by c.oid::regclass::text) into v_namesakes
  from pg_class c where c.relname in ('q_' || p_queue, 'a_' || p_queue) and c.relnamespace <> to_regnamespace('pgmq');
  if v_namesakes is null then
    raise;
  end if;
  raise exception 'pgmq cannot create queue ''%'' because another schema has a relation named like one of its tables: %',
      p_queue, v_namesakes
    using errcode = 'QC007', hint = 'rename that relation, choose another name for the queue, or update pgmq to a version after 1.5';
end
$$;
comment on function qctl._make_pgmq_queue(text) is
  'Creates pgmq''s tables of a queue. Up to 1.5, pgmq as an extension looks for them by name in every schema, and fails if it finds '
  'more than one.';

create or replace function qctl._last_known_msg_id(p_queue qctl.queue) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last bigint;
begin
  select greatest(
    (select max(a.msg_id) from qctl.attempt a where a.queue_id = p_queue.queue_id),
    (select max(f.msg_id) from qctl.in_flight f where f.queue_id = p_queue.queue_id),
    (select max(r.msg_id) from qctl.retry r where r.queue_id = p_queue.queue_id),
    (select max(d.msg_id) from qctl.dead_letter d where d.queue_id = p_queue.queue_id)) into v_last;
  if to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name)) is not null then
    execute format('select greatest($1, max(msg_id)) from pgmq.%I', 'a_' || p_queue.queue_name) into v_last using v_last;
  end if;
  return coalesce(v_last, 0);
end
$$;
comment on function qctl._last_known_msg_id(qctl.queue) is 'The highest number that a message of this queue is known to have had: no other message must get it.';

create or replace function qctl._tune_queue_table(p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('alter table pgmq.%I set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, '
                 'autovacuum_vacuum_cost_delay = 0)', 'q_' || p_queue);
end
$$;

create or replace function qctl._missing_of(p_queue text) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array_remove(array[
    case when to_regclass(format('pgmq.%I', 'q_' || p_queue)) is null then 'table q_' || p_queue end,
    case when to_regclass(format('pgmq.%I', 'a_' || p_queue)) is null then 'table a_' || p_queue end,
    case when not exists (select from pgmq.meta m where m.queue_name = p_queue) then 'row of pgmq.meta' end], null)
$$;
comment on function qctl._missing_of(text) is 'What pgmq lacks of a queue.';

create or replace function qctl._repair_queue(p_queue qctl.queue) returns table (object text, problem text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text[] := qctl._missing_of(p_queue.queue_name);
  v_last bigint;
  v_gone bigint := 0;
begin
  if v_missing = '{}' then
    return;
  end if;
  object := p_queue.queue_name;
  v_last := qctl._last_known_msg_id(p_queue);
  perform qctl._make_pgmq_queue(p_queue.queue_name);
  perform qctl._take_out(p_queue.queue_name);
  if 'table q_' || p_queue.queue_name = any (v_missing) then
    perform qctl._tune_queue_table(p_queue.queue_name);
    if v_last > 0 then
      perform setval(pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue.queue_name), 'msg_id'), v_last);
    end if;
    select count(*) into v_gone from (
      select msg_id from qctl.in_flight f where f.queue_id = p_queue.queue_id
      union select msg_id from qctl.retry r where r.queue_id = p_queue.queue_id) m;
    delete from qctl.in_flight f where f.queue_id = p_queue.queue_id;
    delete from qctl.retry r where r.queue_id = p_queue.queue_id;
    if p_queue.ordered then
      perform qctl._make_order_index(p_queue);
    end if;
    problem := format('its waiting messages are lost%s; new ones begin at %s',
                      case when v_gone > 0 then format(', %s of them tried before', v_gone) else '' end, v_last + 1);
    return next;
  end if;
  if 'table a_' || p_queue.queue_name = any (v_missing) then
    problem := 'its archive is lost; the log of attempts and dead letters remain';
    return next;
  end if;
  if 'row of pgmq.meta' = any (v_missing) then
    problem := 'it is known to pgmq again; nothing was lost';
    return next;
  end if;
  perform qctl._audit('repair', p_queue.queue_name, jsonb_build_object('missing', v_missing, 'last_msg_id', v_last));
end
$$;
comment on function qctl._repair_queue(qctl.queue) is 'Makes again what pgmq lacks of a queue; its settings, attachments, dead letters and log stay. Says what cannot come back.';

create or replace function qctl.repair() returns table (kind text, object text, problem text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
  v_attachment record;
begin
  for v_queue in select * from qctl.queue q order by q.queue_name loop
    return query select 'queue', r.object, r.problem from qctl._repair_queue(v_queue) r;
    perform qctl._take_out(v_queue.queue_name);
  end loop;
  perform qctl._lock_tables('{}', array(
    select distinct r.relation::oid from qctl.queue q join qctl.attachment a using (queue_id) cross join lateral qctl._captured_relations(qctl._attached_relation(a.name)) r (relation)
    where exists (select from qctl._attachment_problems(a, q.queue_name))));
  -- What the printed command would do, where it changes no option.
  for v_attachment in
    select a.table_name, q.queue_name, v.object, v.problem
    from qctl.queue q join qctl.attachment a using (queue_id)
    cross join lateral qctl._verify_attachments(q.queue_id) v
    where v.object = coalesce(qctl._table_name(a.relation), a.table_name) and exists (select from qctl._attachment_problems(a, q.queue_name)) and v.fix ~ '^qctl attach [^ ]+ -q [^ ]+ --change$'
    order by q.queue_name, v.object
  loop
    begin
      perform qctl.change_attachment(v_attachment.table_name, v_attachment.queue_name);
      return query select 'attachment', v_attachment.object, 'captured again: ' || v_attachment.problem;
    exception when others then
      return query select 'attachment', v_attachment.object, format('not captured: %s', sqlerrm);
    end;
  end loop;
  perform qctl._plan_jobs(false);
end
$$;
comment on function qctl.repair() is
  'Makes whole what a restore, a dropped extension or a dropped table left incomplete: pgmq''s tables, triggers, jobs. Settings and attachments '
  'stay. Returns what was made again and what cannot come back.';
