-- The trigger functions of an attachment: they queue what the row function says of each row, or hold it. They run as the role that
-- attached, and name nothing of the captured table, so that no change of it can break them.

create or replace function qctl._fits_sql(p_attachment qctl.attachment, p_pinned boolean, p_new text, p_old text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- A small row cannot decompress to more than jsonb holds.
  select concat_ws(' and ', format('qctl._folded_direct(%L, %s)', p_attachment.name, p_pinned::text),
                   'pg_column_size(' || p_new || ') <= ' || least(8192, p_attachment.max_bytes),
                   'pg_column_size(' || p_old || ') <= ' || least(8192, p_attachment.max_bytes))
$$;

create or replace function qctl._order_sql(p_attachment qctl.attachment, p_rows text, p_operation text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.order_by is null then 'null::text'
              else format('left(coalesce(%1$s -> %2$L ->> %3$L, %1$s ->> ''order_key''), 200)', p_rows,
                          case p_operation when 'DELETE' then 'old_record' else 'record' end, p_attachment.order_by) end
$$;

create or replace function qctl._order_column(p_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select u.present from qctl.attachment a cross join lateral qctl._used_columns(a) u where a.name = p_name and u.name = a.order_by
$$;
comment on function qctl._order_column(text) is 'What the column of --order-by is called now.';

create or replace function qctl._held_order_sql(p_attachment qctl.attachment, p_rows text, p_operation text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.order_by is null then 'null::text'
              else format('coalesce(%s, left(%s -> %L ->> qctl._order_column(%L), 200))', qctl._order_sql(p_attachment, p_rows, p_operation), p_rows,
                          case p_operation when 'DELETE' then 'old_record' else 'record' end, p_attachment.name) end
$$;

create or replace function qctl._held_insert(p_attachment qctl.attachment, p_operation text, p_head text, p_row text, p_from text, p_where text, p_reason text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$insert into qctl.held_event (attachment_id, operation, message, order_key, reason)
    select qctl._attachment_id(%1$L), %2$L, %3$s || (e.c - '{problem,order_key}'::text[]), %8$s, coalesce(e.c ->> 'problem', %4$s)
    from %5$s cross join lateral (select %6$s as c offset 0) as e
    where %7$s;$body$, p_attachment.name, p_operation, p_head, p_reason, p_from, p_row, p_where,
                qctl._held_order_sql(p_attachment, 'e.c', p_operation))
$$;

create or replace function qctl._unqueued_sql(p_attachment qctl.attachment, p_held text, p_reason text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_attachment.on_error
    when 'hold' then format($body$begin
      %s
    exception when others then
      raise warning 'qctl: changes of %% were not captured: %%', tg_relid::regclass, sqlerrm;
    end;$body$, p_held)
    when 'skip' then format('perform qctl._capture_failed(%L, %s);', p_attachment.name, p_reason)
    else format($body$raise exception 'qctl cannot capture this change of %%: %%', tg_relid::regclass, %s
        using hint = 'qctl verify; or let the event be held: qctl attach … --change --on-error hold';$body$, p_reason) end
$$;
comment on function qctl._unqueued_sql(qctl.attachment, text, text) is 'What is done with events that cannot be queued, as --on-error says.';

create or replace function qctl._notify_sql(p_queue text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
  if v_queued and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(%1$s, qctl._folded_queue_id(%2$L)) then
    perform pg_notify('qctl', qctl._folded_queue_id(%2$L)::text);
  end if;$body$, qctl._lock_space('sleeper'), p_queue)
$$;

create or replace function qctl._folded_queue_id(p_queue text) returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select q.queue_id from qctl.queue q where q.queue_name = p_queue $$;

create or replace function qctl._statement_body(p_attachment qctl.attachment, p_queue text, p_operation text, p_pinned boolean) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- PostgreSQL fills both transition tables in the same order, so old and new of one row have the same row number. The unusual names
  -- avoid a clash, because a column with the same name would be read instead of the row.
  v_from constant text := case p_operation
    when 'INSERT' then 'new_rows as "qctl new row"' when 'DELETE' then 'old_rows as "qctl old row"'
    else '(select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n'
         ' join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place)' end;
  v_new constant text := case p_operation when 'INSERT' then '"qctl new row"' when 'UPDATE' then 'n.new' end;
  v_old constant text := case p_operation when 'DELETE' then '"qctl old row"' when 'UPDATE' then 'o.old' end;
  v_head constant text := format('qctl._folded_head(%L, %L, %L)', p_attachment.name, p_operation, p_attachment.payload);
  v_changed constant text := case when p_operation = 'UPDATE' and not p_attachment.unchanged and p_attachment.columns is null
                                  then 'n.new operator(pg_catalog.*<>) o.old' else 'true' end;
  v_plain constant boolean := p_attachment.when_sql is null and p_attachment.columns is null and p_attachment.order_by is null;
  v_fits constant text := case when v_plain then qctl._fits_sql(p_attachment, p_pinned, v_new, v_old) else 'false' end;
  v_hidden constant text := format('coalesce(qctl._folded_virtual(%L), ''{}'')', p_attachment.name);
  v_unowned constant text := format('qctl._unowned_row(%L, %s, %s, %%s)', p_operation,
    coalesce(format('case when qctl._folded_builtin(%L) then to_jsonb(', p_attachment.name) || v_new || format(') - %s end', v_hidden), 'null'),
    coalesce(format('case when qctl._folded_builtin(%L) then to_jsonb(', p_attachment.name) || v_old || format(') - %s end', v_hidden), 'null'));
  v_row constant text := format('case when qctl._folded_owned(%1$L) then qctl.%2$I(%3$L, qctl._folded_relation(%1$L), %4$s, %5$s, %6$s) else %7$s end', p_attachment.name,
    qctl._capture_function(p_attachment.name, 'row'), p_operation, coalesce(v_new, v_old), coalesce(v_old, v_new), v_hidden,
    format(v_unowned, '''the table belongs to another role than its capture'''));
  v_waits constant text := case when p_attachment.order_by is null then 'false' else 'v_waits' end;
  v_direct text := '';
begin
  if v_plain then
    v_direct := format($body$
  insert into pgmq.%1$I (vt, message)
  select clock_timestamp(), %2$s || jsonb_build_object(%3$s)
  from %4$s
  where case when not (%5$s) then false when %6$s then true else set_config(v_flag, 'whole', true) is null end;
  v_queued := found;$body$, 'q_' || p_queue, v_head,
      concat_ws(', ', '''record'', to_jsonb(' || v_new || ')', '''old_record'', to_jsonb(' || v_old || ')'), v_from, v_changed, v_fits);
  end if;
  return format($body$
declare
  v_flag constant text := 'qctl.rest_' || pg_trigger_depth();
  v_obstacle text;
  v_queued boolean := false;
  v_settings text[];%12$s
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  elsif tg_relid = qctl._folded_relation(%1$L) and current_setting('lock_timeout') = '0'
        and qctl._folded_queue(%2$L)::regclass::text = %2$L and has_table_privilege(qctl._folded_queue(%2$L), 'INSERT')
        and qctl._folded_row_function(%1$L)::regproc::text = %22$L and has_function_privilege(qctl._folded_row_function(%1$L), 'EXECUTE') then
    null;
  elsif qctl._belongs(%1$L, tg_relid) is not true then
    return null;
  else
    v_obstacle := qctl._capture_obstacle(%1$L, %3$L);
    if v_obstacle is not null then
      %4$s
      return null;
    end if;
  end if;%13$s%5$s
  if %6$s then
    perform set_config(v_flag, '', true);
    for v_try in 1 .. 2 loop
      insert into pgmq.%7$I (vt, message%8$s)
      select clock_timestamp(), %9$s || %10$s%11$s
      from %14$s cross join lateral (select %15$s as c offset 0) as e
      where case when not (%16$s) or %17$s then false
                 when qctl._folded_pin(%1$L, %18$s) and v_settings is null then set_config(v_flag, 'pin', true) is null
                 when e.c is null then false
                 when not e.c ? 'problem' and not %19$s then true
                 else set_config(v_flag, 'held', true) is null end;
      -- Code of the owner ran, and may have left a search_path that brings more of it.
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
      v_queued := v_queued or found;
      exit when current_setting(v_flag, true) <> 'pin';
      v_settings := qctl._pin();
    end loop;
    if current_setting(v_flag, true) = 'held' then
      perform set_config(v_flag, '', true);
      %20$s
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    end if;
    if v_settings is not null then
      perform qctl._unpin(v_settings);
    end if;
  end if;%21$s
  return null;
end
$body$, p_attachment.name, format('pgmq.%I', 'q_' || p_queue), p_queue,
    qctl._unqueued_sql(p_attachment, format(E'if qctl._row_function(%L) is not null then\n        %s\n      else\n        %s\n      end if;', p_attachment.name,
      qctl._held_insert(p_attachment, p_operation, v_head, v_row, v_from, v_changed || ' and e.c is not null', 'v_obstacle'),
      qctl._held_insert(p_attachment, p_operation, v_head, format(v_unowned, 'v_obstacle'), v_from, v_changed, 'v_obstacle')), 'v_obstacle'),
    v_direct,
    case when v_plain then 'current_setting(v_flag, true) = ''whole''' else 'true' end,
    'q_' || p_queue, case when p_attachment.order_by is not null then ', headers' else '' end, v_head,
    case when p_attachment.order_by is null then 'e.c' else 'case when e.c ? ''order_key'' then e.c - ''order_key'' else e.c end' end,
    case when p_attachment.order_by is null then '' else format(', case when %1$s is not null then jsonb_build_object(''x-pgmq-group'', %1$s) end', qctl._order_sql(p_attachment, 'e.c', p_operation)) end,
    case when p_attachment.order_by is not null then E'\n  v_waits boolean;' else '' end,
    case when p_attachment.order_by is not null then format(E'\n  v_waits := exists (select from qctl.held_event h where h.attachment_id = qctl._folded_attachment_id(%L));', p_attachment.name)
         else '' end,
    v_from, v_row, v_changed, v_fits, p_pinned::text, v_waits,
    qctl._unqueued_sql(p_attachment,
      qctl._held_insert(p_attachment, p_operation, v_head, v_row, v_from,
        format('%s and not (%s) and e.c is not null and (e.c ? ''problem'' or %s)', v_changed, v_fits, v_waits), '''an earlier event is held'''),
      '''a row cannot be queued as asked'''),
    qctl._notify_sql(p_queue), 'qctl.' || qctl._capture_function(p_attachment.name, 'row'));
end
$$;

create or replace function qctl._truncate_body(p_attachment qctl.attachment, p_queue text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
declare
  v_obstacle text;
  v_queued boolean := true;
begin
  if current_setting('qctl.capture', true) = 'off' or qctl._belongs(%1$L, tg_relid) is not true then
    return null;
  end if;
  v_obstacle := qctl._capture_obstacle(%1$L, %2$L);
  if v_obstacle is null then
    insert into pgmq.%3$I (vt, message) values (clock_timestamp(), qctl._event_head(qctl._attached_relation(%1$L), 'TRUNCATE', %4$L));%6$s
  else
    %5$s
  end if;
  return null;
end
$body$, p_attachment.name, p_queue, 'q_' || p_queue, p_attachment.payload,
    qctl._unqueued_sql(p_attachment, format($held$insert into qctl.held_event (attachment_id, operation, message, reason)
      values (qctl._attachment_id(%1$L), 'TRUNCATE', qctl._event_head(qctl._attached_relation(%1$L), 'TRUNCATE', %2$L), v_obstacle);$held$,
      p_attachment.name, p_attachment.payload), 'v_obstacle'),
    qctl._notify_sql(p_queue))
$$;

create or replace function qctl._by_row_body(p_attachment qctl.attachment, p_queue text, p_operation text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
declare
  v_obstacle text;
  v_queued boolean := false;
  v_row jsonb;
  v_message jsonb;
  v_root oid;
begin
  if current_setting('qctl.capture', true) = 'off' or qctl._belongs(%1$L, tg_relid) is not true then
    return null;
  end if;%2$s
  v_obstacle := qctl._capture_obstacle(%1$L, %3$L);
  v_root := coalesce(pg_partition_root(tg_relid)::oid, tg_relid);
  if qctl._row_function(%1$L) is not null and qctl._runs_as_owner(%1$L, v_root) then
    v_row := qctl.%4$I(%5$L, qctl._attached_relation(%1$L), %6$s, %7$s, coalesce(qctl._virtual_columns(tg_relid), '{}'));
    -- Code of the owner ran, and may have left a search_path that brings more of it.
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    if v_row is null then
      return null;
    end if;
  elsif qctl._has_only_builtin_types(tg_relid) then
    v_row := qctl._unowned_row(%5$L, %8$s, %9$s, 'the table belongs to another role than its capture');
  else
    v_row := qctl._unowned_row(%5$L, null, null, 'the table belongs to another role than its capture');
  end if;
  v_obstacle := coalesce(v_obstacle, v_row ->> 'problem', %10$s);
  v_message := qctl._event_head(qctl._attached_relation(%1$L), %5$L, %11$L) || (v_row - '{problem,order_key}'::text[]);
  if v_obstacle is null then
    insert into pgmq.%12$I (vt, message%13$s) values (clock_timestamp(), v_message%14$s);
    v_queued := true;%15$s
  else
    %16$s
  end if;
  return null;
end
$body$, p_attachment.name,
    case when p_operation = 'UPDATE' and not p_attachment.unchanged and p_attachment.columns is null
         then E'\n  if not (new operator(pg_catalog.*<>) old) then\n    return null;\n  end if;' else '' end,
    p_queue, qctl._capture_function(p_attachment.name, 'row'), p_operation,
    case when p_operation <> 'DELETE' then 'new' else 'old' end, case when p_operation <> 'INSERT' then 'old' else 'new' end,
    case when p_operation <> 'DELETE' then 'to_jsonb(new)' else 'null' end, case when p_operation <> 'INSERT' then 'to_jsonb(old)' else 'null' end,
    case when p_attachment.order_by is null then 'null'
         else format('(select ''an earlier event is held'' from qctl.held_event h where h.attachment_id = qctl._attachment_id(%L) limit 1)', p_attachment.name) end,
    p_attachment.payload, 'q_' || p_queue, case when p_attachment.order_by is not null then ', headers' else '' end,
    case when p_attachment.order_by is not null
         then format(', qctl._order_headers(%s)', qctl._order_sql(p_attachment, 'v_row', p_operation)) else '' end,
    qctl._notify_sql(p_queue),
    qctl._unqueued_sql(p_attachment, format($held$insert into qctl.held_event (attachment_id, operation, message, order_key, reason)
      values (qctl._attachment_id(%1$L), %2$L, v_message, %3$s, v_obstacle);$held$, p_attachment.name, p_operation,
                                              qctl._held_order_sql(p_attachment, 'v_row', p_operation)), 'v_obstacle'))
$$;

create or replace function qctl._capture_body(p_attachment qctl.attachment, p_queue text, p_operation text, p_pinned boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_operation = 'TRUNCATE' then qctl._truncate_body(p_attachment, p_queue)
              when p_attachment.level = 'row' then qctl._by_row_body(p_attachment, p_queue, p_operation)
              else qctl._statement_body(p_attachment, p_queue, p_operation, p_pinned) end
$$;
comment on function qctl._capture_body(qctl.attachment, text, text, boolean) is 'Generates a trigger function. It holds no number of this database: equal attachments have equal functions.';

create or replace function qctl._pin() returns text[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old text[];
begin
  select array_agg(array[s.name, current_setting(s.name)]) into v_old from qctl._pinned_settings() s;
  perform set_config(s.name, s.value, true) from qctl._pinned_settings() s;
  return v_old;
end
$$;

create or replace function qctl._unpin(p_settings text[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$ select set_config(p_settings[i][1], p_settings[i][2], true) from generate_subscripts(p_settings, 1) i $$;

create or replace function qctl._pinned_settings() returns table (name text, value text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  values ('timezone', 'UTC'), ('datestyle', 'ISO, MDY'), ('intervalstyle', 'postgres'), ('extra_float_digits', '1'), ('bytea_output', 'hex'), ('lc_monetary', 'C')
$$;
comment on function qctl._pinned_settings() is 'Settings that change how values are written: every writer gives the same text for a value.';

create or replace function qctl._capture_failed(p_name text, p_problem text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment_id integer := qctl._attachment_id(p_name);
begin
  -- Writers must not wait for each other here, so a writer that does not get the lock is not counted.
  if v_attachment_id is null or not pg_try_advisory_xact_lock(qctl._lock_space('capture_error'), v_attachment_id) then
    return;
  end if;
  insert into qctl.capture_error as e (attachment_id, minute, sqlstate, error, statements)
  values (v_attachment_id, date_trunc('minute', clock_timestamp()), coalesce(substring(p_problem from 'SQLSTATE ([0-9A-Z]{5})'), 'QC007'), left(p_problem, 300), 1)
  on conflict (attachment_id, minute, sqlstate) do update set statements = e.statements + 1;
exception when others then
  raise warning 'qctl: an event was not captured, SQLSTATE %', sqlstate;
end
$$;
comment on function qctl._capture_failed(text, text) is 'Records skipped events.';
