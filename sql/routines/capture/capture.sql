-- Capture: generates the functions that turn changed rows into messages.

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
  'True if a column of the table contains json at any depth. json may contain \u0000, which jsonb rejects.';

create or replace function qctl._row_expression(p_row text, p_json boolean, p_max_bytes integer, p_attachment_id integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('case when capture.v_owned and pg_column_size(%1$s) <= %2$s then %3$s end', p_row, p_max_bytes,
    case when p_json then format('qctl.%I(%s)', format('capture_%s_row', p_attachment_id), p_row) else format('to_jsonb(%s)', p_row) end)
$$;
comment on function qctl._row_expression(text, boolean, integer, integer) is
  'The row as jsonb; null if it is too large, if json in it is not valid jsonb, '
  'or if the table belongs to another role than the capture function.';

create or replace function qctl._capture_body(p_attachment qctl.attachment, p_queue_name text, p_operation text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
  v_table text;
  v_json boolean := qctl._holds_json(p_attachment.relation);
  v_by_row boolean := p_attachment.level = 'row';
  -- Computes a row expression once per row if it is used more than once or is expensive; otherwise that costs more than it saves.
  v_beside boolean := v_json or p_attachment.order_by is not null or p_operation = 'UPDATE' and p_attachment.columns is not null;
  v_new_row text;
  v_old_row text;
  v_side text;
  v_row text;
  v_maybe text;
  v_key text;
  v_fits text;
  v_whole text;
  v_cut text;
  v_changed text;
  v_rest jsonb;
  v_message text;
  v_from text;
  v_where text := '';
  v_insert text;
  v_order_key text;
begin
  select n.nspname, c.relname into v_schema, v_table
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_attachment.relation;
  if p_operation in ('INSERT', 'UPDATE') then
    v_new_row := case when v_by_row then 'new' when p_operation = 'INSERT' then 'new.*' else 'n.new' end;
  end if;
  if p_operation in ('UPDATE', 'DELETE') then
    v_old_row := case when v_by_row then 'old' when p_operation = 'DELETE' then 'old.*' else 'o.old' end;
  end if;
  -- PostgreSQL fills both transition tables in the same order, so old and new of one row have the same row number. The unusual names
  -- avoid a clash, because a column with the same name would be read instead of the row.
  v_from := case
    when p_operation = 'TRUNCATE' or v_by_row then '(values (1)) as once'
    when p_operation = 'INSERT' then 'new_rows as new'
    when p_operation = 'DELETE' then 'old_rows as old'
    else '(select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n'
         ' join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place)'
         || case when p_attachment.when_sql is null then ''
                 else ' cross join lateral (select (n.new).*) as new cross join lateral (select (o.old).*) as old' end
  end;

  v_rest := case p_attachment.payload when 'supabase' then jsonb_build_object('type', p_operation, 'table', v_table, 'schema', v_schema)
            else jsonb_build_object('operation', p_operation, 'table', v_table, 'schema', v_schema) end;
  -- A row that cannot be captured as a whole is captured by its key.
  foreach v_side in array array['record', 'old_record'] loop
    v_row := case v_side when 'record' then v_new_row else v_old_row end;
    if v_row is null then
      v_rest := v_rest || jsonb_build_object(v_side, null);
      continue;
    end if;
    v_maybe := qctl._row_expression(v_row, v_json, p_attachment.max_bytes, p_attachment.attachment_id);
    if v_beside then
      v_changed := concat_ws(', ', v_changed, v_maybe || ' as ' || v_side);
      v_maybe := 'changed.' || v_side;
    end if;
    v_fits := concat_ws(' and ', v_fits, case when v_beside then v_maybe || ' is not null'
                                              else format('capture.v_owned and pg_column_size(%s) <= %s', v_row, p_attachment.max_bytes) end);
    v_whole := concat_ws(', ', v_whole, format('%L, %s', v_side, case when v_beside then v_maybe else format('to_jsonb(%s)', v_row) end));
    v_key := format('case when capture.v_owned then qctl.%I(%s) else ''{}'' end', qctl._capture_function(p_attachment.attachment_id, 'key'), v_row);
    -- In an update one of the two rows may still fit.
    v_cut := concat_ws(', ', v_cut, format('%L, %s', v_side, case when p_operation = 'UPDATE' then format('coalesce(%s, %s)', v_maybe, v_key) else v_key end));
  end loop;
  if v_changed is not null then
    v_from := v_from || format(' cross join lateral (select %s offset 0) as changed', v_changed);
  end if;
  v_message := case when v_whole is null then format('%L::jsonb', v_rest)
    else format('case when %s then %L::jsonb || jsonb_build_object(%s) else %L::jsonb || jsonb_build_object(%s) end',
                v_fits, v_rest, v_whole, v_rest || '{"truncated": true}', v_cut) end;
  if p_operation = 'UPDATE' then
    if p_attachment.columns is not null then
      -- Looked up by name in the json, so that after a rename of the column more is captured and the statement does not fail.
      v_where := format(' and (changed.record is null or changed.old_record is null or %s)', (select string_agg(format(
        'not changed.record ? %1$L or changed.record -> %1$L is distinct from changed.old_record -> %1$L', c), ' or ' order by o)
        from unnest(p_attachment.columns) with ordinality as u (c, o)));
    elsif not p_attachment.unchanged then
      v_where := format(' and %s operator(pg_catalog.*<>) %s', v_new_row, v_old_row);
    end if;
  end if;
  if p_attachment.when_sql is not null and p_operation <> 'TRUNCATE' then
    v_where := v_where || format(E' and case when capture.v_owned then (%s\n) else true end', p_attachment.when_sql);
  end if;
  if p_attachment.order_by is not null and p_operation <> 'TRUNCATE' then
    v_order_key := format('left(coalesce(changed.%1$I ->> %2$L, case when changed.%1$I is null and capture.v_owned then qctl.%3$I(%4$s) end), 200)',
      case p_operation when 'DELETE' then 'old_record' else 'record' end, p_attachment.order_by,
      qctl._capture_function(p_attachment.attachment_id, 'order'), coalesce(v_new_row, v_old_row));
  end if;
  v_insert := format($insert$insert into pgmq.%I (vt, message%6$s)
  select clock_timestamp(), %2$s%7$s
  from %3$s
  where true%4$s;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(%8$s, %5$s) then
    perform pg_notify('qctl', '%5$s');
  end if;$insert$, 'q_' || p_queue_name, v_message, v_from, v_where, p_attachment.queue_id, case when v_order_key is not null then ', headers' end,
    case when v_order_key is not null then format(', case when %1$s is not null then jsonb_build_object(''x-pgmq-group'', %1$s) end', v_order_key) end,
    qctl._lock_space('sleeper'));
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
<<capture>>
declare
  -- Qualified with the block's name wherever rows are in scope, because a new owner may add a column called v_owned.
  -- After ALTER TABLE … OWNER the types of the new owner must not run as the old owner, so keys and conditions are left out until
  -- the table is attached again. Checks the table that fired because its oid differs in a restored database.
  v_owned boolean := %s;
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  %s
  return null;
end
$body$, case when p_attachment.as_me then 'true'
             else '(select pg_get_userbyid(c.relowner) = current_user from pg_class c where c.oid = coalesce(pg_partition_root(tg_relid), tg_relid))' end,
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
comment on function qctl._key_body(regclass) is 'The body of the function that returns the primary key of a row that is too large.';

create or replace function qctl._row_body() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- Removes \u0000 unless its backslash is escaped. Text that jsonb still rejects, for example half a surrogate pair, gives null.
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
  -- Writers must not wait for each other here, so a writer that does not get the lock is not counted.
  if p_sqlstate !~ '^[0-9A-Z]{5}$' or not exists (select from qctl.attachment a where a.attachment_id = p_attachment_id and a.on_error = 'skip')
     or not pg_try_advisory_xact_lock(qctl._lock_space('capture_error'), p_attachment_id) then
    return;
  end if;
  insert into qctl.capture_error as e (attachment_id, minute, sqlstate, error, statements)
  values (p_attachment_id, date_trunc('minute', clock_timestamp()), p_sqlstate,
          -- Only errors that name objects are stored, because others may quote a value.
          case when left(p_sqlstate, 2) in ('42', '3F', '53', '55', '57') then left(p_error, 300) end, 1)
  on conflict (attachment_id, minute, sqlstate) do update set statements = e.statements + 1;
end
$$;
comment on function qctl._capture_failed(integer, text, text) is
  'Records a skipped event. SECURITY DEFINER because capture runs as the owner of the table, who has no privileges on the pipeline.';

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
  v_path constant text := 'set search_path = pg_catalog, pg_temp';
  v_set constant text := v_path || ' set standard_conforming_strings = on';
  v_operation text;
  v_name text;
begin
  execute format('create or replace function qctl.%I(r record) returns jsonb language plpgsql stable %s as %L',
                 qctl._capture_function(p_attachment.attachment_id, 'key'), v_set, qctl._key_body(p_attachment.relation));
  execute format('create or replace function qctl.%I(r record) returns jsonb language plpgsql stable %s as %L',
                 qctl._capture_function(p_attachment.attachment_id, 'row'), v_set, qctl._row_body());
  if p_attachment.order_by is not null then
    execute format('create or replace function qctl.%I(r record) returns text language plpgsql stable %s as %L',
                   qctl._capture_function(p_attachment.attachment_id, 'order'), v_set,
                   format(E'\nbegin\n  return r.%I::text;\nexception when undefined_column then\n  return null;\nend\n', p_attachment.order_by));
  end if;
  foreach v_operation in array p_attachment.operations loop
    v_name := qctl._capture_function(p_attachment.attachment_id, v_operation);
    execute format('create or replace function qctl.%I() returns trigger language plpgsql security definer %s%s as %L', v_name,
      -- Set only if the condition has a backslash, because each setting costs every statement a microsecond.
      case when strpos(p_attachment.when_sql, E'\\') > 0 then v_set else v_path end,
      -- Plans are kept, and one made for a single row would join many rows by a nested loop.
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
      raise warning 'the capture functions of % were not updated: %', v_attachment.relation, sqlerrm;
    end;
  end loop;
end
$$;
comment on function qctl._refresh_captures() is
  'Replaces the generated functions by those of this version. Needs no lock on a table because the triggers stay.';
