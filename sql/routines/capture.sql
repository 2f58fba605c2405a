-- Capture: generated trigger functions that turn changed rows into messages.

create or replace function qctl._capture_body(
  p_queue_name text, p_queue_id integer, p_relation regclass, p_operation text, p_payload text, p_when text, p_columns text[],
  p_unchanged boolean)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
  v_table text;
  v_new text := case p_operation when 'INSERT' then 'to_jsonb(new.*)' when 'UPDATE' then 'to_jsonb(n.new)' else 'null::jsonb' end;
  v_old text := case p_operation when 'DELETE' then 'to_jsonb(old.*)' when 'UPDATE' then 'to_jsonb(o.old)' else 'null::jsonb' end;
  v_message text;
  v_from text;
  v_where text := '';
begin
  select n.nspname, c.relname into v_schema, v_table
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_relation;
  v_message := case p_payload
    when 'supabase' then format('jsonb_build_object(''type'', %L, ''table'', %L, ''schema'', %L, ''record'', %s, ''old_record'', %s)',
                                p_operation, v_table, v_schema, v_new, v_old)
    else format('jsonb_build_object(''record'', %s, ''old_record'', %s, ''operation'', %L, ''table'', %L, ''schema'', %L)',
                v_new, v_old, p_operation, v_table, v_schema)
  end;
  -- PostgreSQL fills both transition tables in one order, so old and new of one row stand at the same place. The odd
  -- names are none that a column has, for a column would be taken before the row.
  v_from := case p_operation
    when 'INSERT' then 'new_rows as new'
    when 'DELETE' then 'old_rows as old'
    else '(select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n'
         ' join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place)'
         || case when p_when is null and p_columns is null then ''
                 else ' cross join lateral (select (n.new).*) as new cross join lateral (select (o.old).*) as old' end
  end;
  if p_operation = 'UPDATE' then
    if p_columns is not null then
      v_where := format(' and row(%s)::record operator(pg_catalog.*<>) row(%s)::record',
        (select string_agg(format('new.%I', c), ', ' order by o) from unnest(p_columns) with ordinality as u (c, o)),
        (select string_agg(format('old.%I', c), ', ' order by o) from unnest(p_columns) with ordinality as u (c, o)));
    elsif not p_unchanged then
      v_where := ' and n.new operator(pg_catalog.*<>) o.old';
    end if;
  end if;
  if p_when is not null then
    v_where := v_where || format(E' and (%s\n)', p_when);
  end if;
  return format($body$
#variable_conflict use_column
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.%1$I (vt, message)
  select clock_timestamp(), %2$s
  from %3$s
  where true%4$s;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, %5$s) then
    perform pg_notify('qctl', '%5$s');
  end if;
  return null;
end
$body$, 'q_' || p_queue_name, v_message, v_from, v_where, p_queue_id);
end
$$;

create or replace function qctl._check_when(p_relation regclass, p_operations text[], p_when text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor refcursor;
  v_operation text;
begin
  foreach v_operation in array p_operations loop
    -- A cursor takes one query only, so the text cannot end the condition and begin another statement.
    open v_cursor for execute format(E'select 1 from %s where (%s\n)', concat_ws(' cross join ',
      case when v_operation <> 'DELETE' then format('%s as new', p_relation) end,
      case when v_operation <> 'INSERT' then format('%s as old', p_relation) end), p_when);
    close v_cursor;
  end loop;
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table then
  raise exception '--when is not a condition for %: %', v_operation, sqlerrm
    using errcode = 'QC002',
          hint = 'for example --when "new.status = ''paid''"; INSERT has no old and DELETE no new: choose with --on';
end
$$;

create or replace function qctl.attach(
  p_relation text, p_queue text, p_operations text[] default '{INSERT,UPDATE,DELETE}', p_when text default null,
  p_columns text[] default null, p_payload text default 'qctl', p_unchanged boolean default false, p_as_me boolean default false)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_relation regclass;
  v_class pg_class;
  v_owner name;
  v_column text;
  v_attachment_id integer;
  v_operation text;
  v_name text;
  v_may_own boolean;
begin
  begin
    v_relation := to_regclass(p_relation);
  exception when others then
    v_relation := null;
  end;
  if v_relation is null then
    raise exception 'no table named %', quote_literal(coalesce(p_relation, ''))
      using errcode = 'QC006', hint = 'name it with its schema, for example public.users; names with capitals want double quotes';
  end if;
  select * into v_class from pg_class where oid = v_relation;
  if v_class.relkind <> 'r' or v_class.relispartition or exists (select from pg_inherits where inhparent = v_relation or inhrelid = v_relation) then
    raise exception '% is not a plain table', v_relation
      using errcode = 'QC007', hint = 'views, foreign tables, partitioned tables and inheritance are not captured';
  end if;
  if v_class.relnamespace in ('pgmq'::regnamespace, 'qctl'::regnamespace, 'pg_catalog'::regnamespace) then
    raise exception '% belongs to the pipeline itself', v_relation using errcode = 'QC007', hint = 'attach a table of your own';
  end if;
  if p_operations is null or cardinality(p_operations) = 0 or not p_operations <@ array['INSERT', 'UPDATE', 'DELETE'] then
    raise exception 'operations must be some of INSERT, UPDATE, DELETE' using errcode = 'QC002';
  end if;
  p_operations := array(select distinct o from unnest(p_operations) as o order by o desc);
  if p_payload is null or p_payload not in ('qctl', 'supabase') then
    raise exception 'no such payload: %', quote_nullable(p_payload) using errcode = 'QC002', hint = 'qctl or supabase';
  end if;
  select c into v_column from unnest(p_columns) as c
  where not exists (select from pg_attribute a where a.attrelid = v_relation and a.attname = c and a.attnum > 0 and not a.attisdropped)
  limit 1;
  if found then
    raise exception 'table % has no column %', v_relation, quote_literal(v_column) using errcode = 'QC006';
  end if;
  if cardinality(p_columns) = 0 then
    p_columns := null;
  end if;
  if p_when is not null then
    perform qctl._check_when(v_relation, p_operations, p_when);
  end if;
  if exists (select from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = v_relation) then
    raise exception '% is attached to % already', v_relation, p_queue
      using errcode = 'QC007', hint = format('to change it: qctl detach %s -q %s, then attach again', v_relation, p_queue);
  end if;

  select string_agg(a.attname, ', ') into v_column from pg_attribute a
  where a.attrelid = v_relation and a.attnum > 0 and a.attgenerated = 'v';
  if v_column is not null then
    raise warning 'virtual generated columns are captured as null: %', v_column;
  end if;

  v_owner := pg_get_userbyid(v_class.relowner);
  v_may_own := pg_has_role(v_class.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end);
  if not v_may_own and not p_as_me then
    raise exception 'the capture of % should run as its owner %, and % may not act for that role', v_relation, v_owner, current_user
      using errcode = 'QC007',
            detail = 'Types of that table may bring code of its owner, which would run with your rights instead.',
            hint = '--as-me accepts that; or let a member of ' || v_owner || ' run attach';
  end if;

  insert into qctl.attachment (queue_id, relation, operations, when_sql, columns, payload, unchanged)
  values (v_queue.queue_id, v_relation, p_operations, p_when, p_columns, p_payload, p_unchanged)
  returning attachment_id into v_attachment_id;

  foreach v_operation in array p_operations loop
    v_name := format('capture_%s_%s', v_attachment_id, lower(v_operation));
    execute format('create function qctl.%I() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp%s as %L',
      v_name,
      -- Kept plans: one made for a single row would pair many rows by a nested loop.
      case v_operation when 'UPDATE' then ' set enable_nestloop = off' end, qctl._capture_body(p_queue, v_queue.queue_id, v_relation, v_operation, p_payload, p_when, p_columns, p_unchanged));
    execute format('comment on function qctl.%I() is %L', v_name, format('%s of %s to queue %s', v_operation, v_relation, p_queue));
    execute format('create trigger %I after %s on %s referencing %s for each statement execute function qctl.%I()',
      'qctl_' || v_name, v_operation, v_relation,
      case v_operation when 'INSERT' then 'new table as new_rows' when 'DELETE' then 'old table as old_rows'
                       else 'old table as old_rows new table as new_rows' end, v_name);
    execute format('revoke all on function qctl.%I() from public', v_name);
    return query select v_relation::text, p_queue, v_operation, 'qctl_' || v_name,
                        case when v_may_own then v_owner else current_user end::text;
  end loop;
  if v_may_own and v_owner <> current_user then
    perform qctl._own_capture(v_attachment_id, v_queue.queue_name, p_operations, v_owner);
  end if;
  perform qctl._audit('attach', p_queue, jsonb_build_object(
    'relation', v_relation::text, 'operations', p_operations, 'when', p_when, 'columns', p_columns, 'payload', p_payload));
end
$$;
comment on function qctl.attach(text, text, text[], text, text[], text, boolean, boolean) is
  'Captures the changes of a table into a queue. Waits at most 2 s for the table''s lock.';

create or replace function qctl._own_capture(p_attachment_id integer, p_queue text, p_operations text[], p_owner name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_operation text;
  v_had_create boolean := has_schema_privilege(p_owner, 'qctl', 'CREATE');
begin
  execute format('grant usage on schema pgmq to %I', p_owner);
  execute format('grant insert (vt, message), select (msg_id) on pgmq.%I to %I', 'q_' || p_queue, p_owner);
  if not v_had_create then
    execute format('grant create on schema qctl to %I', p_owner);
  end if;
  foreach v_operation in array p_operations loop
    execute format('alter function qctl.%I() owner to %I', format('capture_%s_%s', p_attachment_id, lower(v_operation)), p_owner);
  end loop;
  if not v_had_create then
    execute format('revoke create on schema qctl from %I', p_owner);
  end if;
end
$$;

create or replace function qctl.detach(p_relation text, p_queue text default null)
returns table (relation text, queue_name text, trigger_name text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  -- A table that was dropped is known by its number only, as describe shows it.
  v_relation regclass := case when p_relation ~ '^[0-9]{1,9}$' then p_relation::oid else to_regclass(p_relation) end;
  v_attachment record;
  v_operation text;
  v_owner name;
  v_name text;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  if not exists (select from qctl.attachment a join qctl.queue q using (queue_id)
                 where a.relation = v_relation and (p_queue is null or q.queue_name = p_queue)) then
    raise exception '% is not attached%', coalesce(v_relation::text, quote_literal(p_relation)), coalesce(' to ' || p_queue, '')
      using errcode = 'QC006',
            hint = coalesce('attached: ' || (select string_agg(distinct a.relation::text, ', ') from qctl.attachment a),
                            'no table is attached');
  end if;
  for v_attachment in
    select a.*, q.queue_name from qctl.attachment a join qctl.queue q using (queue_id)
    where a.relation = v_relation and (p_queue is null or q.queue_name = p_queue) order by q.queue_name
  loop
    foreach v_operation in array v_attachment.operations loop
      v_name := format('capture_%s_%s', v_attachment.attachment_id, lower(v_operation));
      if exists (select from pg_class c where c.oid = v_relation) then
        execute format('drop trigger if exists %I on %s', 'qctl_' || v_name, v_relation);
      end if;
      select pg_get_userbyid(p.proowner) into v_owner from pg_proc p
      where p.pronamespace = 'qctl'::regnamespace and p.proname = v_name;
      execute format('drop function if exists qctl.%I()', v_name);
      return query select v_relation::text, v_attachment.queue_name, 'qctl_' || v_name;
    end loop;
    delete from qctl.attachment a where a.attachment_id = v_attachment.attachment_id;
    if v_owner is not null and v_owner <> current_user and not exists (
        select from qctl.attachment a join pg_class c on c.oid = a.relation
        where a.queue_id = v_attachment.queue_id and pg_get_userbyid(c.relowner) = v_owner) then
      execute format('revoke insert (vt, message), select (msg_id) on pgmq.%I from %I', 'q_' || v_attachment.queue_name, v_owner);
    end if;
    perform qctl._audit('detach', v_attachment.queue_name, jsonb_build_object('relation', v_relation::text));
  end loop;
end
$$;
comment on function qctl.detach(text, text) is 'Stops capturing a table. What is in the queue stays.';
