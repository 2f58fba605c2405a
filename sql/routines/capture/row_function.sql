-- The row function of an attachment: decides about one changed row and converts it, to what stands for it in the message: null where
-- it is not wanted; with a key "problem" where that could not be decided or done as asked, and "order_key" where no row shows the key. It belongs to the table's owner, because a
-- condition and the types of a table bring that role's code, and it is the only place where that code runs.

create or replace function qctl._problem_sql(p_what text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- Only errors that name objects are quoted, never those that may quote a value.
  select format($sql$%L || ': SQLSTATE ' || sqlstate || case when left(sqlstate, 2) in ('42', '3F', '53', '55', '57', 'XX') then ' ' || left(sqlerrm, 300) else '' end$sql$, p_what)
$$;

create or replace function qctl._populated_condition_sql(p_attachment qctl.attachment) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format(E'select exists (select from %s where (%s\n))', concat_ws(' cross join ',
    case when not 'DELETE' = any (p_attachment.operations) then 'jsonb_populate_record(null::%1$s, $1) as new' end,
    case when not 'INSERT' = any (p_attachment.operations) then 'jsonb_populate_record(null::%1$s, $2) as old' end), replace(p_attachment.when_sql, '%', '%%'))
$$;
comment on function qctl._populated_condition_sql(qctl.attachment) is
  'The condition over rows with columns, planned anew each time: for columns named without new. or old., and where a session still has a plan for a type from before an ALTER.';

create or replace function qctl._condition_sql(p_attachment qctl.attachment, p_populated boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_attachment.when_sql is null then ''
    when p_populated or (p_attachment.uses ->> 'bare')::boolean
    then format('execute format(%L, relation) into v_matches using case when operation <> ''DELETE'' then to_jsonb(new) end, case when operation in (''UPDATE'', ''DELETE'') then to_jsonb(old) end;',
                qctl._populated_condition_sql(p_attachment))
    else format(E'v_matches := (%s\n);\n', p_attachment.when_sql) end
         || case when p_attachment.when_sql is null then '' else E'if v_matches is not true then\n      return null;\n    end if;' end
$$;

create or replace function qctl._key_sql(p_relation regclass, p_row text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('jsonb_build_object(%s)', string_agg(format('%L, %s.%I', a.attname, p_row, a.attname), ', ' order by k.n))
  from pg_index i
  cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, n)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
  where i.indrelid = p_relation and i.indisprimary
$$;
comment on function qctl._key_sql(regclass, text) is 'What stands for a row that is too large or cannot be converted: its primary key.';

create or replace function qctl._piecewise_side(p_attachment qctl.attachment, p_side text, p_variable text, p_present_for text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- Takes \u0000 out unless its backslash is itself escaped; json may hold it and jsonb may not.
  select format($body$
  if operation = any (%4$L) then
    v_%2$s := null;
    if pg_column_size(%1$s) <= %3$s then
      begin
        v_%2$s := regexp_replace(to_json(%1$s)::text, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', E'\\1', 'g')::jsonb - hidden;
      exception when others or assert_failure then
        null;
      end;
    end if;
    if v_%2$s is null then
      v_truncated := true;
      begin
        v_%2$s := coalesce(%5$s, '{}');
      exception when others or assert_failure then
        v_%2$s := '{}';
      end;
    end if;
  end if;$body$, p_side, p_variable, p_attachment.max_bytes, p_present_for,
    coalesce(qctl._key_sql(coalesce(qctl._attached_relation(p_attachment.name), p_attachment.relation::oid), p_side), 'null::jsonb'))
$$;

create or replace function qctl._same_sql(p_attachment qctl.attachment, p_then text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- Spares the conversion of a row in which no named column has changed. For types whose values are equal exactly when their json is.
  select case when bool_and(t.type ~ '^(smallint|integer|bigint|boolean|text|character varying|uuid|numeric|date|timestamp)(\(| with| without|$)')
              then format(E'\n    if operation = ''UPDATE'' and %s then\n      %s\n    end if;',
                string_agg(case when t.type ~ '^(text|character varying)' then format('new.%1$I collate pg_catalog."C" is not distinct from old.%1$I', c.name)
                                else format('new.%1$I is not distinct from old.%1$I', c.name) end, ' and ' order by c.n), p_then)
              else '' end
  from unnest(p_attachment.columns) with ordinality as c (name, n)
  cross join lateral (select case when p_attachment.uses -> 'types' ->> c.name !~ '\[\]$' then p_attachment.uses -> 'types' ->> c.name else '' end as type) t
$$;

create or replace function qctl._row_body(p_attachment qctl.attachment) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_no constant text := 'return null;';
  v_same text := '';
  v_columns text := '';
  v_order text := '';
begin
  if p_attachment.columns is not null then
    v_same := qctl._same_sql(p_attachment, v_no);
    v_columns := format($body$
      if operation = 'UPDATE' then
        if not v_record ?& %1$L::text[] then
          v_problem := 'a column that --columns names is gone';
        elsif %2$s then
          %3$s
        end if;
      end if;$body$, p_attachment.columns,
      (select string_agg(format('v_record -> %1$L is not distinct from v_old_record -> %1$L', c), ' and ' order by n)
       from unnest(p_attachment.columns) with ordinality as u (c, n)), v_no);
  end if;
  if p_attachment.order_by is not null then
    v_order := format($body$
      if not (case operation when 'DELETE' then v_old_record else v_record end) ? %1$L then
        v_problem := %2$L;
      end if;$body$, p_attachment.order_by, format('column %s, which --order-by names, is gone', p_attachment.order_by));
  end if;
  return format($body$
#variable_conflict use_column
<<capture>>
declare
  v_record jsonb;
  v_old_record jsonb;
  v_rows jsonb;
  v_matches boolean;
  v_truncated boolean := false;
  v_order_key text;
  v_problem text;%13$s
begin
  begin
    %1$s%11$s
    if operation <> 'DELETE' and pg_column_size(new) <= %2$s then
      v_record := to_jsonb(new) - hidden;
    end if;
    if operation in ('UPDATE', 'DELETE') and pg_column_size(old) <= %2$s then
      v_old_record := to_jsonb(old) - hidden;
    end if;
    if (operation = 'DELETE' or v_record is not null) and (operation in ('INSERT', 'READ') or v_old_record is not null) then%4$s%5$s
      v_rows := case operation
        when 'UPDATE' then jsonb_build_object('record', v_record, 'old_record', v_old_record)
        when 'DELETE' then jsonb_build_object('old_record', v_old_record)
        else jsonb_build_object('record', v_record) end;
      if v_problem is not null then
        v_rows := v_rows || jsonb_build_object('problem', v_problem);
      end if;%14$s
      return v_rows%15$s;
    end if;
  exception when others or assert_failure then
    null;
  end;
  -- One piece at a time, to keep what there is.
  v_problem := null;
  begin
    %10$s
  exception when others or assert_failure then
    %6$s
  end;%7$s%8$s
  if not v_truncated then%12$s
  end if;%9$s%14$s
  return jsonb_strip_nulls(jsonb_build_object('truncated', nullif(v_truncated, false), 'order_key', v_order_key, 'problem', v_problem))
         || case when operation <> 'DELETE' then jsonb_build_object('record', v_record) else '{}' end
         || case when operation in ('UPDATE', 'DELETE') then jsonb_build_object('old_record', v_old_record) else '{}' end%15$s;
end
$body$, qctl._condition_sql(p_attachment, false), p_attachment.max_bytes, v_no, v_columns, v_order,
    case when p_attachment.on_error = 'fail' then 'raise;' else format('v_problem := %s;', qctl._problem_sql('the condition cannot be evaluated')) end,
    qctl._piecewise_side(p_attachment, 'new', 'record', '{INSERT,UPDATE,READ}'), qctl._piecewise_side(p_attachment, 'old', 'old_record', '{UPDATE,DELETE}'),
    case when p_attachment.order_by is not null then format($body$
  begin
    v_order_key := left(case operation when 'DELETE' then coalesce(v_old_record ->> %1$L, old.%1$I::text) else coalesce(v_record ->> %1$L, new.%1$I::text) end, 200);
  exception when others or assert_failure then
    %2$s
  end;$body$, p_attachment.order_by,
      case when p_attachment.on_error = 'fail' then 'raise;' else format('v_problem := %s;', qctl._problem_sql('the order key cannot be computed')) end)
    else '' end, case when p_attachment.when_sql is null then 'null;'
      else E'if v_matches is null then\n      ' || qctl._condition_sql(p_attachment, true) || E'\n    end if;' end, v_same, coalesce(nullif(v_columns, ''), E'\n    null;'),
    case when p_attachment.body_sql is null then '' else E'\n  v_body jsonb;\n  v_body_failed text;' end, qctl._body_sql(p_attachment), qctl._with_body_sql(p_attachment));
end
$$;
comment on function qctl._row_body(qctl.attachment) is 'Generates the row function. One handler for the usual row; after an error each piece has its own.';
