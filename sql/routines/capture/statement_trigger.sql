-- Trigger functions of a statement: from its transition tables they queue all rows at once.

create or replace function qctl._fits_sql(p_attachment qctl.attachment, p_pinned text[], p_new text, p_old text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- A small row cannot decompress to more than jsonb holds.
  select concat_ws(' and ', format('qctl._folded_direct(%L, %L)', p_attachment.name, p_pinned),
                   'pg_column_size(' || p_new || ') <= ' || least(8192, p_attachment.max_bytes),
                   'pg_column_size(' || p_old || ') <= ' || least(8192, p_attachment.max_bytes))
$$;

create or replace function qctl._is_plain(p_attachment qctl.attachment) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_attachment.level = 'statement' and p_attachment.when_sql is null and p_attachment.columns is null and p_attachment.order_by is null
         and not qctl._is_shaped(p_attachment)
$$;
comment on function qctl._is_plain(qctl.attachment) is 'Is a whole row queued as it is, whatever it holds?';

create or replace function qctl._flag_sql() returns text
language sql immutable parallel safe
return '''qctl.rest_'' || pg_trigger_depth()';
comment on function qctl._flag_sql() is
  'The name of a setting of the transaction by which a statement tells its trigger function what it met. Of its own depth: other captures may run inside of it.';

create or replace function qctl._statement_parts(p_attachment qctl.attachment, p_operation text, p_pinned text[])
returns table (rows_sql text, head_sql text, changed_sql text, fits_sql text, row_sql text, unowned_sql text, waits_sql text, plain boolean, new_sql text, old_sql text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hidden constant text := format('coalesce(qctl._folded_virtual(%L), ''{}'')', p_attachment.name);
  v_converted constant text := format('case when qctl._folded_builtin(%1$L) and pg_column_size(%%1$s) <= %3$s then to_jsonb(%%1$s) - %2$s '
                                      'else qctl._text_row(tg_relid, %%1$s, %2$s, %3$s) end', p_attachment.name, v_hidden, p_attachment.max_bytes);
begin
  -- No column is in scope, whatever its name: a row leaves its table only whole, and coalesce keeps it whole.
  rows_sql := case p_operation
    when 'INSERT' then '(select coalesce(r.*) as new from new_rows r) n'
    when 'DELETE' then '(select coalesce(r.*) as old from old_rows r) o'
    -- PostgreSQL fills both transition tables in the same order, so old and new of one row have the same row number.
    else '(select coalesce(r.*) as new, row_number() over () as place from new_rows r) n'
         ' join (select coalesce(r.*) as old, row_number() over () as place from old_rows r) o using (place)' end;
  new_sql := case when p_operation <> 'DELETE' then 'n.new' end;
  old_sql := case when p_operation <> 'INSERT' then 'o.old' end;
  head_sql := format('qctl._folded_head(%L, %L, %L)', p_attachment.name, p_operation, p_attachment.payload);
  changed_sql := case when p_operation = 'UPDATE' and not p_attachment.unchanged and p_attachment.columns is null
                      then 'n.new operator(pg_catalog.*<>) o.old' else 'true' end;
  plain := qctl._is_plain(p_attachment);
  fits_sql := case when plain then qctl._fits_sql(p_attachment, p_pinned, new_sql, old_sql) else 'false' end;
  unowned_sql := format('qctl._unowned_row(%L, %s, %s, greatest(%s) > %s, %%s)', p_operation,
    case when new_sql is null then 'null' else format(v_converted, new_sql) end, case when old_sql is null then 'null' else format(v_converted, old_sql) end,
    concat_ws(', ', 'pg_column_size(' || new_sql || ')', 'pg_column_size(' || old_sql || ')'), p_attachment.max_bytes);
  row_sql := format('case when qctl._folded_owned(%1$L) then qctl.%2$I(%3$L, qctl._folded_relation(%1$L), %4$s, %5$s, %6$s) else %7$s end', p_attachment.name,
    qctl._capture_function(p_attachment.name, 'row'), p_operation, coalesce(new_sql, old_sql), coalesce(old_sql, new_sql), v_hidden,
    format(unowned_sql, '''the table belongs to another role than its capture'''));
  waits_sql := case when p_attachment.order_by is null then 'false' else 'v_waits' end;
  return next;
end
$$;
comment on function qctl._statement_parts(qctl.attachment, text, text[]) is
  'Expressions of a trigger function: the changed rows, and what is asked about each. unowned_sql has a place for the problem.';

create or replace function qctl._direct_sql(p_attachment qctl.attachment, p_queue text, p_operation text, p_pinned text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p.plain then format($body$
  insert into pgmq.%1$I (vt, message)
  select clock_timestamp(), %2$s || jsonb_build_object(%3$s)
  from %4$s
  where case when not (%5$s) then false when %6$s then true else set_config(%7$s, 'whole', true) is null end;%8$s$body$, 'q_' || p_queue, p.head_sql,
    concat_ws(', ', '''record'', to_jsonb(' || p.new_sql || ')', '''old_record'', to_jsonb(' || p.old_sql || ')'), p.rows_sql, p.changed_sql, p.fits_sql, qctl._flag_sql(),
    qctl._notify_sql(p_queue, 'found'))
    else '' end
  from qctl._statement_parts(p_attachment, p_operation, p_pinned) p
$$;
comment on function qctl._direct_sql(qctl.attachment, text, text, text[]) is
  'A statement without variables, because PL/pgSQL plans one that has them at each of a session''s first five runs. Queues rows that need no code of the owner; sets the flag for the rest. Nothing where the options ask something of a row.';

create or replace function qctl._careful_sql(p_attachment qctl.attachment, p_queue text, p_operation text, p_pinned text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
%1$s  declare
    v_flag constant text := %18$s;
    v_queued boolean := false;
    v_settings text[];
  begin
    perform set_config(v_flag, '', true);
    for v_try in 1 .. 2 loop
      insert into pgmq.%2$I (vt, message%3$s)
      select clock_timestamp(), %4$s%6$s
      from %7$s cross join lateral (select %8$s as c offset 0) as e%5$s
      where case when not (%9$s) or %10$s then false
                 when qctl._folded_pin(%11$L, %12$L, %17$L) and v_settings is null then set_config(v_flag, 'pin', true) is null
                 when e.c is null then false%15$s
                 when not e.c ? 'problem' and not %13$s then true
                 else set_config(v_flag, 'held', true) is null end;
      v_queued := v_queued or found;
      -- Code of the owner ran, and may have left a search_path that brings more of it.
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
      exit when current_setting(v_flag, true) <> 'pin';
      v_settings := qctl._pin();
      perform set_config(v_flag, '', true);
    end loop;%16$s
    if current_setting(v_flag, true) = 'held' then
      perform set_config(v_flag, '', true);
      %14$s
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    end if;
    if v_settings is not null then
      perform qctl._unpin(v_settings);
    end if;%19$s
  end;%20$s$body$,
    case when p.plain then format(E'  if current_setting(%s, true) = ''whole'' then\n', qctl._flag_sql()) else '' end,
    'q_' || p_queue, case when qctl._headers_sql(p_attachment, 'null', 'null') is null then '' else ', headers' end,
    case when qctl._is_shaped(p_attachment) then 'f.m'
         else p.head_sql || case when p_attachment.order_by is null then ' || e.c' else ' || case when e.c ? ''order_key'' then e.c - ''order_key'' else e.c end' end end,
    case when qctl._is_shaped(p_attachment)
         then format(E'\n      cross join lateral (select case when e.c is not null then %s end as m offset 0) as f', qctl._message_sql(p_attachment, p.head_sql, 'e.c', format('qctl._folded_cloud_source(%L, %L)', p_attachment.name, p_operation))) else '' end,
    coalesce(', ' || qctl._headers_sql(p_attachment, qctl._order_sql(p_attachment, 'e.c', p_operation), 'f.m'), ''),
    p.rows_sql, p.row_sql, p.changed_sql, p.fits_sql, p_attachment.name, p_pinned, p.waits_sql,
    qctl._unqueued_sql(p_attachment,
      qctl._held_insert(p_attachment, p_operation, p.head_sql, p.row_sql, p.rows_sql,
        format('%s and not (%s) and e.c is not null and (e.c ? ''problem'' or %s)', p.changed_sql, p.fits_sql, p.waits_sql), '''an earlier event is held'''),
      '''a row cannot be queued as asked'''),
    case when p_attachment.body_sql is null then ''
         else E'\n                 when e.c ? ''body_failed'' and set_config(''qctl.body_failed'', e.c ->> ''body_failed'', true) is null then false' end,
    case when p_attachment.body_sql is null then ''
         else format($body$
    if current_setting('qctl.body_failed', true) <> '' then
      perform qctl._capture_failed(%L, current_setting('qctl.body_failed'));
      perform set_config('qctl.body_failed', '', true);
    end if;$body$, p_attachment.name) end, p.plain, qctl._flag_sql(), qctl._notify_sql(p_queue, 'v_queued'),
    case when p.plain then E'\n  end if;' else '' end)
  from qctl._statement_parts(p_attachment, p_operation, p_pinned) p
$$;
comment on function qctl._careful_sql(qctl.attachment, text, text, text[]) is
  'Asks the row function about each row that is left, queues what is wanted and holds what has a problem. A row whose type depends on a setting makes it begin anew with the settings pinned.';

create or replace function qctl._unpaired_sql(p_attachment qctl.attachment) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- A trigger that skips a row on its way to another partition leaves the old version without a new one.
  select format($body$
  if (select count(*) from old_rows) <> (select count(*) from new_rows) then
    v_obstacle := 'a trigger took away rows on their way to another partition, so old and new rows cannot be paired';
    %s
    return null;
  end if;$body$, qctl._unqueued_sql(p_attachment, qctl._held_insert(p_attachment, 'UPDATE', p.head_sql, format(p.unowned_sql, 'v_obstacle'),
      replace(replace(p.rows_sql, ' join ', ' full join '), 'as old, row_number()', 'as old, -row_number()'), 'true', 'v_obstacle'), 'v_obstacle'))
  from qctl._statement_parts(p_attachment, 'UPDATE', '{}') p
$$;

create or replace function qctl._statement_body(p_attachment qctl.attachment, p_queue text, p_operation text, p_pinned text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
declare
  v_obstacle text;%1$s
begin
  -- In one expression because each has its price.
  if current_setting('qctl.capture', true) is distinct from 'off' and tg_relid = qctl._folded_relation(%2$L) and current_setting('lock_timeout') = '0'
        and qctl._folded_queue(%3$L)::regclass::text = %3$L and has_table_privilege(qctl._folded_queue(%3$L), 'INSERT')
        and qctl._folded_row_function(%2$L)::regproc::text = %4$L and has_function_privilege(qctl._folded_row_function(%2$L), 'EXECUTE') then
    null;
  elsif current_setting('qctl.capture', true) = 'off' or qctl._belongs(%2$L, tg_relid) is not true then
    return null;
  else
    v_obstacle := qctl._capture_obstacle(%2$L, %5$L);
    if v_obstacle is not null then
      %6$s
      return null;
    end if;
  end if;%7$s
  return null;
end
$body$, case when p_attachment.order_by is not null then E'\n  v_waits boolean;' else '' end,
    p_attachment.name, format('pgmq.%I', 'q_' || p_queue), 'qctl.' || qctl._capture_function(p_attachment.name, 'row'), p_queue,
    qctl._unqueued_sql(p_attachment, format(E'if qctl._may_convert(%L) then\n        %s\n      else\n        %s\n      end if;', p_attachment.name,
      qctl._held_insert(p_attachment, p_operation, p.head_sql, p.row_sql, p.rows_sql, p.changed_sql || ' and e.c is not null', 'v_obstacle'),
      qctl._held_insert(p_attachment, p_operation, p.head_sql, format(p.unowned_sql, 'v_obstacle'), p.rows_sql, p.changed_sql, 'v_obstacle')), 'v_obstacle'),
    concat(
      case when p_operation = 'UPDATE' and (select c.relkind from pg_class c where c.oid = p_attachment.relation) = 'p' then qctl._unpaired_sql(p_attachment) end,
      case when p_attachment.order_by is not null
           then format(E'\n  v_waits := exists (select from qctl.held_event h where h.attachment_id = qctl._folded_attachment_id(%L));', p_attachment.name) end,
      qctl._direct_sql(p_attachment, p_queue, p_operation, p_pinned), qctl._careful_sql(p_attachment, p_queue, p_operation, p_pinned)))
  from qctl._statement_parts(p_attachment, p_operation, p_pinned) p
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
    insert into pgmq.%3$I (vt, message%9$s) select clock_timestamp(), %7$s from (select qctl._event_head(qctl._attached_relation(%1$L), 'TRUNCATE', %4$L) as e) e%8$s;%6$s
  else
    %5$s
  end if;
  return null;
end
$body$, p_attachment.name, p_queue, 'q_' || p_queue, p_attachment.payload,
    qctl._unqueued_sql(p_attachment, format($held$insert into qctl.held_event (attachment_id, operation, message, reason)
      values (qctl._attachment_id(%1$L), 'TRUNCATE', qctl._event_head(qctl._attached_relation(%1$L), 'TRUNCATE', %2$L), v_obstacle);$held$,
      p_attachment.name, p_attachment.payload), 'v_obstacle'),
    qctl._notify_sql(p_queue, 'v_queued'),
    case when qctl._is_shaped(p_attachment) then 'f.m' else 'e.e' end || coalesce(', ' || h.sql, ''),
    case when qctl._is_shaped(p_attachment) then format(' cross join lateral (select qctl._shape(%L, e.e, null) as m offset 0) as f', p_attachment.payload) else '' end,
    case when h.sql is null then '' else ', headers' end)
  from (select qctl._headers_sql(p_attachment, null, 'f.m') as sql) h
$$;
