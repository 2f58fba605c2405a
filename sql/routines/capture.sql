-- Capture: generated trigger functions that turn changed rows into messages.

create or replace function qctl._holds_json(p_relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive kinds as (
    select a.atttypid as id from pg_attribute a where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped
    union
    select u.id from kinds k
    join pg_type t on t.oid = k.id
    cross join lateral (
      select t.typelem as id where t.typelem <> 0
      union all select t.typbasetype where t.typtype = 'd'
      union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
      union all select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
    ) u
  )
  select exists (select from kinds k where k.id = 'json'::regtype)
$$;
comment on function qctl._holds_json(regclass) is
  'Has the table json, not jsonb, in it, however deep? That may hold \u0000, which jsonb refuses.';

create or replace function qctl._row_expression(p_row text, p_json boolean, p_max_bytes integer, p_attachment_id integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('case when v_owned and pg_column_size(%1$s) <= %2$s then %3$s end', p_row, p_max_bytes,
    case when p_json then format('qctl.%I(%s)', format('capture_%s_row', p_attachment_id), p_row) else format('to_jsonb(%s)', p_row) end)
$$;
comment on function qctl._row_expression(text, boolean, integer, integer) is
  'The row as json; null where it is too large, where json in it cannot be jsonb, or where the table has another owner than the capture.';

create or replace function qctl._capture_body(p_attachment qctl.attachment, p_queue_name text, p_operation text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
  v_table text;
  v_json boolean := qctl._holds_json(p_attachment.relation);
  v_by_row boolean := p_attachment.level = 'row';
  v_new_row text;
  v_old_row text;
  v_new text := 'null::jsonb';
  v_old text := 'null::jsonb';
  v_cut text;
  v_message text;
  v_from text;
  v_where text := '';
  v_insert text;
begin
  select n.nspname, c.relname into v_schema, v_table
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_attachment.relation;
  if p_operation in ('INSERT', 'UPDATE') then
    v_new_row := case when v_by_row then 'new' when p_operation = 'INSERT' then 'new.*' else 'n.new' end;
    v_new := qctl._row_expression(v_new_row, v_json, p_attachment.max_bytes, p_attachment.attachment_id);
  end if;
  if p_operation in ('UPDATE', 'DELETE') then
    v_old_row := case when v_by_row then 'old' when p_operation = 'DELETE' then 'old.*' else 'o.old' end;
    v_old := qctl._row_expression(v_old_row, v_json, p_attachment.max_bytes, p_attachment.attachment_id);
  end if;
  -- PostgreSQL fills both transition tables in one order, so old and new of one row stand at the same place. The odd
  -- names are none that a column has, for a column would be taken before the row.
  v_from := case
    when p_operation = 'TRUNCATE' or v_by_row then '(values (1)) as once'
    when p_operation = 'INSERT' then 'new_rows as new'
    when p_operation = 'DELETE' then 'old_rows as old'
    else '(select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n'
         ' join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place)'
         || case when p_attachment.when_sql is null then ''
                 else ' cross join lateral (select (n.new).*) as new cross join lateral (select (o.old).*) as old' end
  end;
  if p_operation <> 'TRUNCATE' then
    -- Computed once: a row that cannot be had whole is captured by its key.
    v_from := v_from || format(' cross join lateral (select %s as after, %s as before offset 0) as changed', v_new, v_old);
    v_cut := concat_ws(' or ', case when v_new_row is not null then 'changed.after is null' end,
                               case when v_old_row is not null then 'changed.before is null' end);
    v_new := case when v_new_row is null then 'null::jsonb' else format('coalesce(changed.after, case when v_owned then qctl.%I(%s) else ''{}'' end)',
      qctl._capture_function(p_attachment.attachment_id, 'key'), v_new_row) end;
    v_old := case when v_old_row is null then 'null::jsonb' else format('coalesce(changed.before, case when v_owned then qctl.%I(%s) else ''{}'' end)',
      qctl._capture_function(p_attachment.attachment_id, 'key'), v_old_row) end;
  end if;
  if p_operation = 'UPDATE' then
    if p_attachment.columns is not null then
      -- By name in the json, so that a column that is renamed later captures more instead of failing the statement.
      v_where := format(' and (changed.after is null or changed.before is null or %s)', (select string_agg(format(
        'not changed.after ? %1$L or changed.after -> %1$L is distinct from changed.before -> %1$L', c), ' or ' order by o)
        from unnest(p_attachment.columns) with ordinality as u (c, o)));
    elsif not p_attachment.unchanged then
      v_where := format(' and %s operator(pg_catalog.*<>) %s', v_new_row, v_old_row);
    end if;
  end if;
  if p_attachment.when_sql is not null and p_operation <> 'TRUNCATE' then
    v_where := v_where || format(E' and case when v_owned then (%s\n) else true end', p_attachment.when_sql);
  end if;

  v_message := case p_attachment.payload
    when 'supabase' then format('jsonb_build_object(''type'', %L, ''table'', %L, ''schema'', %L, ''record'', %s, ''old_record'', %s)',
                                p_operation, v_table, v_schema, v_new, v_old)
    else format('jsonb_build_object(''record'', %s, ''old_record'', %s, ''operation'', %L, ''table'', %L, ''schema'', %L)',
                v_new, v_old, p_operation, v_table, v_schema)
  end || case when v_cut is null then '' else format(' || case when %s then ''{"truncated": true}''::jsonb else ''{}''::jsonb end', v_cut) end;
  v_insert := format($insert$insert into pgmq.%I (vt, message)
  select clock_timestamp(), %s
  from %s
  where true%s;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, %s) then
    perform pg_notify('qctl', '%5$s');
  end if;$insert$, 'q_' || p_queue_name, v_message, v_from, v_where, p_attachment.queue_id);
  if p_attachment.on_error = 'skip' then
    v_insert := format($skip$begin
  %s
  exception when others then
    begin
      perform qctl._capture_failed(%s, sqlstate, sqlerrm);
    exception when others then
      raise warning 'qctl: an event was not captured, SQLSTATE %%', sqlstate;
    end;
  end;$skip$, v_insert, p_attachment.attachment_id);
  end if;
  return format($body$
#variable_conflict use_column
declare
  -- After ALTER TABLE … OWNER the new owner's types must not run as the old one: keys and conditions are left out until
  -- the table is attached again.
  v_owned boolean := %s;
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  %s
  return null;
end
$body$, case when p_attachment.as_me then 'true'
             else format('(select pg_get_userbyid(c.relowner) = current_user from pg_class c where c.oid = %s)', p_attachment.relation::oid) end,
  v_insert);
end
$$;

create or replace function qctl._key_body(p_relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
begin
  return jsonb_build_object(%s);
exception when undefined_column then
  return '{}';
end
$body$, coalesce((
    select string_agg(format('%L, r.%I', a.attname, a.attname), ', ' order by k.n)
    from pg_index i
    cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, n)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = p_relation and i.indisprimary), ''))
$$;
comment on function qctl._key_body(regclass) is 'What stands for a row that is too large: its primary key.';

create or replace function qctl._row_body() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- Take \u0000 out unless its backslash is itself escaped. What jsonb still refuses, half a surrogate pair say, is null.
  select $body$
begin
  return regexp_replace(to_json(r)::text, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', E'\\1', 'g')::jsonb;
exception when data_exception then
  return null;
end
$body$
$$;

create or replace function qctl._capture_failed(p_attachment_id integer, p_sqlstate text, p_error text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Writers never wait for one another here; who does not get the lock is not counted.
  if p_sqlstate !~ '^[0-9A-Z]{5}$' or not exists (select from qctl.attachment a where a.attachment_id = p_attachment_id and a.on_error = 'skip')
     or not pg_try_advisory_xact_lock(1902343281, p_attachment_id) then
    return;
  end if;
  insert into qctl.capture_error as e (attachment_id, minute, sqlstate, error, statements)
  values (p_attachment_id, date_trunc('minute', clock_timestamp()), p_sqlstate,
          -- Only errors that name objects, never those that may quote a value.
          case when left(p_sqlstate, 2) in ('42', '3F', '53', '55', '57') then left(p_error, 300) end, 1)
  on conflict (attachment_id, minute, sqlstate) do update set statements = e.statements + 1;
end
$$;
comment on function qctl._capture_failed(integer, text, text) is
  'Records a skipped event. SECURITY DEFINER, for capture runs as the table''s owner, who has no right on the pipeline.';

create or replace function qctl._check_when(p_relation regclass, p_operations text[], p_when text, p_by_row boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor refcursor;
  v_operation text;
begin
  foreach v_operation in array p_operations loop
    continue when v_operation = 'TRUNCATE';
    -- A cursor takes one query only, so the text cannot end the condition and begin another statement.
    open v_cursor for execute format(E'select 1 from %s where (%s\n)', concat_ws(' cross join ',
      case when v_operation <> 'DELETE' then format('%s as new', p_relation) end,
      case when v_operation <> 'INSERT' then format('%s as old', p_relation) end,
      -- A trigger per row knows columns only as new.x and old.x: two more of each make a bare name ambiguous.
      case when p_by_row then format('%1$s as "qctl 1" cross join %1$s as "qctl 2"', p_relation) end), p_when);
    close v_cursor;
  end loop;
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table then
  raise exception '--when is not a condition for %: %', v_operation, sqlerrm
    using errcode = 'QC002',
          hint = 'for example --when "new.status = ''paid''"; INSERT has no old and DELETE no new: choose with --on';
end
$$;

create or replace function qctl._by_row(p_relation regclass, p_replicated boolean) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p_replicated or c.relkind = 'p' or exists (select from pg_inherits i where i.inhparent = p_relation)
  from pg_class c where c.oid = p_relation
$$;

create or replace function qctl._captured_relations(p_relation regclass) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive tree as (
    select p_relation::oid as id
    union
    select i.inhrelid from tree t join pg_inherits i on i.inhparent = t.id join pg_class c on c.oid = i.inhrelid and not c.relispartition
  )
  select t.id::regclass from tree t join pg_class c on c.oid = t.id order by t.id
$$;
comment on function qctl._captured_relations(regclass) is
  'The tables that carry the triggers: the table itself and what inherits from it. Partitions get their parent''s from PostgreSQL.';

create or replace function qctl.attach(
  p_relation text, p_queue text, p_operations text[] default '{INSERT,UPDATE,DELETE}', p_when text default null,
  p_columns text[] default null, p_payload text default 'qctl', p_unchanged boolean default false, p_as_me boolean default false,
  p_replicated boolean default false, p_on_error text default 'fail', p_max_bytes integer default 524288)
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
  v_attachment qctl.attachment;
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
  if v_class.relkind not in ('r', 'p') then
    raise exception '% is not a table', v_relation
      using errcode = 'QC007', hint = 'views and foreign tables are not captured';
  elsif v_class.relispartition or exists (select from pg_inherits where inhrelid = v_relation) then
    raise exception '% is a part of another table', v_relation
      using errcode = 'QC007', hint = format('attach %s', (select i.inhparent::regclass from pg_inherits i where i.inhrelid = v_relation limit 1));
  end if;
  if v_class.relnamespace in ('pgmq'::regnamespace, 'qctl'::regnamespace, 'pg_catalog'::regnamespace) then
    raise exception '% belongs to the pipeline itself', v_relation using errcode = 'QC007', hint = 'attach a table of your own';
  end if;
  if p_operations is null or cardinality(p_operations) = 0 or not p_operations <@ array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] then
    raise exception 'operations must be some of INSERT, UPDATE, DELETE, TRUNCATE' using errcode = 'QC002';
  end if;
  p_operations := array(select distinct o from unnest(p_operations) as o order by o desc);
  if p_payload is null or p_payload not in ('qctl', 'supabase') then
    raise exception 'no such payload: %', quote_nullable(p_payload) using errcode = 'QC002', hint = 'qctl or supabase';
  end if;
  if p_on_error is null or p_on_error not in ('fail', 'skip') then
    raise exception 'no such choice for errors: %', quote_nullable(p_on_error) using errcode = 'QC002', hint = 'fail or skip';
  end if;
  if p_max_bytes is null or p_max_bytes not between 1024 and 1048576 then
    raise exception 'the largest row is 1 KiB to 1 MiB' using errcode = 'QC002';
  end if;
  select c into v_column from unnest(p_columns) as c
  where not exists (select from pg_attribute a where a.attrelid = v_relation and a.attname = c and a.attnum > 0 and not a.attisdropped)
  limit 1;
  if found then
    raise exception 'table % has no column %', v_relation, quote_literal(v_column) using errcode = 'QC006';
  end if;
  if p_when is not null then
    perform qctl._check_when(v_relation, p_operations, p_when, qctl._by_row(v_relation, p_replicated));
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

  insert into qctl.attachment (queue_id, relation, operations, when_sql, columns, payload, unchanged, level, replicated, as_me, on_error, max_bytes)
  values (v_queue.queue_id, v_relation, p_operations, p_when, case when cardinality(p_columns) > 0 then p_columns end, p_payload, p_unchanged,
          case when qctl._by_row(v_relation, p_replicated) then 'row' else 'statement' end,
          p_replicated, not v_may_own, p_on_error, p_max_bytes)
  returning * into v_attachment;
  perform qctl._make_capture(v_attachment, v_queue.queue_name);
  if v_may_own and v_owner <> current_user then
    perform qctl._own_capture(v_attachment, v_queue.queue_name, v_owner);
  end if;
  perform qctl._audit('attach', p_queue, jsonb_build_object(
    'relation', v_relation::text, 'operations', p_operations, 'when', p_when, 'columns', p_columns, 'payload', p_payload,
    'level', v_attachment.level, 'replicated', p_replicated, 'on_error', p_on_error));
  return query
  select v_relation::text, p_queue, o, qctl._capture_trigger(v_attachment.attachment_id, o),
         case when v_may_own then v_owner else current_user end::text
  from unnest(p_operations) with ordinality as u (o, n) order by n;
end
$$;
comment on function qctl.attach(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer) is
  'Captures the changes of a table into a queue. Waits at most 2 s for the table''s lock.';

create or replace function qctl._capture_function(p_attachment_id integer, p_operation text) returns text
language sql immutable parallel safe
return format('capture_%s_%s', p_attachment_id, lower(p_operation));

create or replace function qctl._capture_trigger(p_attachment_id integer, p_operation text) returns text
language sql immutable parallel safe
return format('qctl_capture_%s_%s', p_attachment_id, lower(p_operation));

create or replace function qctl._make_functions(p_attachment qctl.attachment, p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_set constant text := 'set search_path = pg_catalog, pg_temp set standard_conforming_strings = on';
  v_operation text;
  v_name text;
begin
  execute format('create or replace function qctl.%I(r record) returns jsonb language plpgsql stable %s as %L',
                 qctl._capture_function(p_attachment.attachment_id, 'key'), v_set, qctl._key_body(p_attachment.relation));
  execute format('create or replace function qctl.%I(r record) returns jsonb language plpgsql stable %s as %L',
                 qctl._capture_function(p_attachment.attachment_id, 'row'), v_set, qctl._row_body());
  foreach v_operation in array p_attachment.operations loop
    v_name := qctl._capture_function(p_attachment.attachment_id, v_operation);
    execute format('create or replace function qctl.%I() returns trigger language plpgsql security definer %s%s as %L', v_name, v_set,
      -- Kept plans: one made for a single row would pair many rows by a nested loop.
      case when v_operation = 'UPDATE' and p_attachment.level = 'statement' then ' set enable_nestloop = off' end,
      qctl._capture_body(p_attachment, p_queue, v_operation));
    execute format('comment on function qctl.%I() is %L', v_name, format('%s of %s to queue %s', v_operation, p_attachment.relation, p_queue));
  end loop;
end
$$;

create or replace function qctl._capture_functions(p_attachment_id integer) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and p.proname ~ format('^capture_%s_', p_attachment_id) order by p.proname
$$;

create or replace function qctl._make_capture(p_attachment qctl.attachment, p_queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
  v_operation text;
  v_relation regclass;
begin
  perform qctl._make_functions(p_attachment, p_queue);
  for v_function in select qctl._capture_functions(p_attachment.attachment_id) loop
    execute format('revoke all on function %s from public', v_function);
    -- Whoever makes a partition must be allowed to execute what its triggers call.
    execute format('grant execute on function %s to %I', v_function,
                   (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = p_attachment.relation));
  end loop;
  foreach v_operation in array p_attachment.operations loop
    for v_relation in select qctl._captured_relations(p_attachment.relation) loop
      execute format('create trigger %I after %s on %s %s execute function qctl.%I()',
        qctl._capture_trigger(p_attachment.attachment_id, v_operation), v_operation, v_relation,
        case when v_operation = 'TRUNCATE' then 'for each statement'
             when p_attachment.level = 'row' then 'for each row'
             else format('referencing %s for each statement', case v_operation
               when 'INSERT' then 'new table as new_rows' when 'DELETE' then 'old table as old_rows'
               else 'old table as old_rows new table as new_rows' end) end,
        qctl._capture_function(p_attachment.attachment_id, v_operation));
      if p_attachment.replicated then
        execute format('alter table %s enable always trigger %I', v_relation, qctl._capture_trigger(p_attachment.attachment_id, v_operation));
      end if;
    end loop;
  end loop;
end
$$;

create or replace function qctl._refresh_captures() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment qctl.attachment;
  v_queue text;
  v_owner name;
begin
  for v_attachment in select a.* from qctl.attachment a join pg_class c on c.oid = a.relation loop
    select q.queue_name into v_queue from qctl.queue q where q.queue_id = v_attachment.queue_id;
    begin
      select pg_get_userbyid(p.proowner) into v_owner from pg_proc p
      where p.pronamespace = 'qctl'::regnamespace
        and p.proname = qctl._capture_function(v_attachment.attachment_id, v_attachment.operations[1]);
      continue when not found or to_regclass(format('pgmq.%I', 'q_' || v_queue)) is null;
      perform qctl._make_functions(v_attachment, v_queue);
      if v_owner <> current_user then
        perform qctl._own_capture(v_attachment, v_queue, v_owner);
      end if;
    exception when others then
      raise warning 'the capture of % stays as it is: %', v_attachment.relation, sqlerrm;
    end;
  end loop;
end
$$;
comment on function qctl._refresh_captures() is
  'Brings generated functions up to this version without touching a table: triggers go on with the replaced body.';

create or replace function qctl._close_routines() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_routine record;
begin
  for v_routine in
    select p.oid::regprocedure as name from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and pg_has_role(p.proowner, 'USAGE')
      and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))
  loop
    execute format('revoke all on routine %s from public', v_routine.name);
  end loop;
end
$$;
comment on function qctl._close_routines() is 'Nothing in schema qctl is executable by PUBLIC, for owners of attached tables may look into it.';

create or replace function qctl._own_capture(p_attachment qctl.attachment, p_queue text, p_owner name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
  v_had_create boolean := has_schema_privilege(p_owner, 'qctl', 'CREATE');
begin
  execute format('grant usage on schema pgmq, qctl to %I', p_owner);
  execute format('grant insert (vt, message), select (msg_id) on pgmq.%I to %I', 'q_' || p_queue, p_owner);
  if not v_had_create then
    execute format('grant create on schema qctl to %I', p_owner);
  end if;
  for v_function in select qctl._capture_functions(p_attachment.attachment_id) loop
    execute format('alter function %s owner to %I', v_function, p_owner);
  end loop;
  if not v_had_create then
    execute format('revoke create on schema qctl from %I', p_owner);
  end if;
  if p_attachment.on_error = 'skip' then
    execute format('grant execute on function qctl._capture_failed(integer, text, text) to %I', p_owner);
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
  v_relation regclass := case when p_relation ~ '^[0-9]{1,10}$' then p_relation::oid else to_regclass(p_relation) end;
  v_attachment record;
  v_operation text;
  v_owner name;
  v_name text;
  v_table regclass;
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
      v_name := qctl._capture_function(v_attachment.attachment_id, v_operation);
      -- Wherever the trigger is: a table may have joined or left the inheritance since. PostgreSQL drops those of partitions.
      for v_table in
        select t.tgrelid from pg_trigger t
        where t.tgname = qctl._capture_trigger(v_attachment.attachment_id, v_operation) and t.tgparentid = 0
      loop
        execute format('drop trigger %I on %s', qctl._capture_trigger(v_attachment.attachment_id, v_operation), v_table);
      end loop;
      select pg_get_userbyid(p.proowner) into v_owner from pg_proc p
      where p.pronamespace = 'qctl'::regnamespace and p.proname = v_name;
      execute format('drop function if exists qctl.%I()', v_name);
      return query select v_relation::text, v_attachment.queue_name, qctl._capture_trigger(v_attachment.attachment_id, v_operation);
    end loop;
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'key'));
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'row'));
    delete from qctl.attachment a where a.attachment_id = v_attachment.attachment_id;
    delete from qctl.capture_error e where e.attachment_id = v_attachment.attachment_id;
    if v_owner is not null and v_owner <> current_user and not exists (
        select from qctl.attachment a cross join lateral qctl._capture_functions(a.attachment_id) f join pg_proc p on p.oid = f
        where a.queue_id = v_attachment.queue_id and pg_get_userbyid(p.proowner) = v_owner)
       and to_regclass(format('pgmq.%I', 'q_' || v_attachment.queue_name)) is not null then
      execute format('revoke insert (vt, message), select (msg_id) on pgmq.%I from %I', 'q_' || v_attachment.queue_name, v_owner);
    end if;
    perform qctl._audit('detach', v_attachment.queue_name, jsonb_build_object('relation', v_relation::text));
  end loop;
end
$$;
comment on function qctl.detach(text, text) is 'Stops capturing a table. What is in the queue stays.';

create or replace function qctl.reattach(p_relation text, p_queue text)
returns table (relation text, queue_name text, operation text, trigger_name text, runs_as text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_attachment qctl.attachment;
begin
  select * into v_attachment from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = to_regclass(p_relation);
  if not found then
    raise exception '% is not attached to %', p_relation, p_queue using errcode = 'QC006', hint = format('qctl attach %s -q %s', p_relation, p_queue);
  end if;
  perform qctl.detach(p_relation, p_queue);
  return query select * from qctl.attach(
    p_relation, p_queue, v_attachment.operations, v_attachment.when_sql, v_attachment.columns, v_attachment.payload,
    v_attachment.unchanged, v_attachment.as_me, v_attachment.replicated, v_attachment.on_error, v_attachment.max_bytes);
end
$$;
comment on function qctl.reattach(text, text) is
  'Makes the triggers of an attachment anew with the options it has: after a renamed table or column, a new child, a lost trigger.';

create or replace function qctl._verify_attachments() returns table (object text, problem text, mend text)
language sql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
  with attached as (
    select a.*, q.queue_name, c.oid is not null as there,
           case when c.oid is null then a.relation::oid::text else format('%I.%I', n.nspname, c.relname) end as name
    from qctl.attachment a join qctl.queue q using (queue_id)
    left join pg_class c on c.oid = a.relation left join pg_namespace n on n.oid = c.relnamespace
  ), expected as (
    select a.*, o.operation, r.relation as carrier
    from attached a cross join unnest(a.operations) as o (operation)
    cross join lateral qctl._captured_relations(a.relation) as r (relation)
    where a.there
  )
  select a.name, 'the table is gone', format('qctl detach %s -q %s', a.name, a.queue_name) from attached a where not a.there
  union all
  select e.name, format('trigger for %s is %s on %s', e.operation, case when t.oid is null then 'missing' else 'disabled' end, e.carrier),
         case when t.oid is null then format('qctl attach %s -q %s --again', e.name, e.queue_name)
              else format('alter table %s enable%s trigger %I;', e.carrier, case when e.replicated then ' always' else '' end, t.tgname) end
  from expected e
  left join pg_trigger t on t.tgrelid = e.carrier and t.tgname = qctl._capture_trigger(e.attachment_id, e.operation)
  where t.oid is null or t.tgenabled = 'D' or e.replicated <> (t.tgenabled = 'A')
  union all
  select a.name, format('the capture function for %s is %s', o.operation,
                        case when p.oid is null then 'missing' else 'not what the table needs now: it was renamed, or has new types' end),
         format('qctl attach %s -q %s --again', a.name, a.queue_name)
  from attached a cross join unnest(a.operations) as o (operation)
  left join pg_proc p on p.pronamespace = 'qctl'::regnamespace and p.proname = qctl._capture_function(a.attachment_id, o.operation)
  where a.there and p.prosrc is distinct from
        qctl._capture_body((select x from qctl.attachment x where x.attachment_id = a.attachment_id), a.queue_name, o.operation)
  union all
  select e.name, format('trigger for %s is disabled on %s', e.operation, t.tgrelid::regclass),
         format('alter table %s enable%s trigger %I;', t.tgrelid::regclass, case when e.replicated then ' always' else '' end, t.tgname)
  from expected e join pg_trigger t on t.tgname = qctl._capture_trigger(e.attachment_id, e.operation) and t.tgparentid <> 0
  where t.tgenabled = 'D'
  union all
  select a.name, 'it belongs to another owner than its capture, so only keyless events are captured',
         format('qctl attach %s -q %s --again', a.name, a.queue_name)
  from attached a join pg_class c on c.oid = a.relation
  where not a.as_me and exists (select from qctl._capture_functions(a.attachment_id) f join pg_proc p on p.oid = f
                                where p.proowner <> c.relowner)
  union all
  select a.name, 'it is a part of another table now: what is written through that one is not captured',
         format('qctl detach %s -q %s, then attach %s', a.name, a.queue_name, i.inhparent::regclass)
  from attached a join pg_inherits i on i.inhrelid = a.relation
  union all
  select a.name, 'it has parts now, which its triggers do not reach', format('qctl attach %s -q %s --again', a.name, a.queue_name)
  from attached a where a.there and a.level = 'statement' and qctl._by_row(a.relation, false)
  union all
  select a.name, format('column %s, which the attachment names, is gone', c.name),
         format('qctl detach %s -q %s, then attach it with other --columns', a.name, a.queue_name)
  from attached a cross join unnest(a.columns) as c (name)
  where a.there and not exists (select from pg_attribute t where t.attrelid = a.relation and t.attname = c.name and not t.attisdropped)
  union all
  select a.name, format('%s statements were not captured since %s, SQLSTATE %s', sum(e.statements), min(e.minute), e.sqlstate),
         format('delete from qctl.capture_error where attachment_id = %s; when the cause is mended', a.attachment_id)
  from attached a join qctl.capture_error e using (attachment_id) group by a.name, a.attachment_id, e.sqlstate
  order by 1, 2
$$;
