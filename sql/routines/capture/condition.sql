-- Conditions and columns that an attachment names: are they valid for the table, and where are they after a rename?

create or replace function qctl._condition_query(p_relation regclass, p_operation text, p_when text, p_by_row boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- The condition cannot begin another statement: it appears within one parenthesis and within two, and could not close both.
  select format(E'select 1::bigint where exists (select from %1$s where (%2$s\n)) and exists (select from %1$s where ((%2$s\n)))', concat_ws(' cross join ',
    case when p_operation <> 'DELETE' then format('%s as new', p_relation) end,
    case when p_operation <> 'INSERT' then format('%s as old', p_relation) end,
    -- Two more copies of the table make a name without new. or old. ambiguous.
    case when p_by_row then format('%1$s as "qctl 1" cross join %1$s as "qctl 2"', p_relation) end), p_when)
$$;

create or replace function qctl._check_condition(p_relation regclass, p_operations text[], p_when text, p_by_row boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_operation text;
begin
  foreach v_operation in array p_operations loop
    continue when v_operation = 'TRUNCATE';
    perform qctl._columns_parsed(p_relation, qctl._condition_query(p_relation, v_operation, p_when, p_by_row));
  end loop;
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table then
  raise exception '--when is not a valid condition for %: %', v_operation, sqlerrm
    using errcode = 'QC002',
          hint = 'for example --when "new.status = ''paid''"; INSERT has no old row and DELETE no new row, so choose operations with --on';
end
$$;

create or replace function qctl._is_bare(p_relation regclass, p_operations text[], p_when text) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform qctl._check_condition(p_relation, p_operations, p_when, false);
  begin
    perform qctl._check_condition(p_relation, p_operations, p_when, true);
    return false;
  exception when sqlstate 'QC002' then
    return true;
  end;
end
$$;
comment on function qctl._is_bare(regclass, text[], text) is 'Does a valid condition name columns without new. or old.?';

create or replace function qctl._columns_of_condition(p_relation regclass, p_operations text[], p_when text) returns setof text
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select distinct c
  from unnest(p_operations) as o (operation)
  cross join lateral unnest(qctl._columns_parsed(p_relation, qctl._condition_query(p_relation, o.operation, p_when, false))) c
  where o.operation <> 'TRUNCATE'
$$;

create or replace function qctl._uses(p_attachment qctl.attachment) returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bare boolean := false;
  v_condition text[] := '{}';
  v_body text[] := '{}';
begin
  if p_attachment.when_sql is not null then
    v_bare := qctl._is_bare(p_attachment.relation, p_attachment.operations, p_attachment.when_sql);
    v_condition := array(select qctl._columns_of_condition(p_attachment.relation, p_attachment.operations, p_attachment.when_sql));
  end if;
  if p_attachment.body_sql is not null then
    v_body := qctl._check_body(p_attachment.relation, p_attachment.body_sql);
  end if;
  return (
    select jsonb_build_object('bare', v_bare, 'condition', to_jsonb(v_condition), 'body', to_jsonb(v_body), 'relation', p_attachment.relation::oid,
                              'columns', coalesce(jsonb_object_agg(a.attname, a.attnum), '{}'),
                              'types', coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)), '{}'))
    from pg_attribute a
    where a.attrelid = p_attachment.relation and a.attnum > 0 and not a.attisdropped
      and a.attname::text = any (p_attachment.columns || p_attachment.order_by || v_condition || v_body));
end
$$;
comment on function qctl._uses(qctl.attachment) is
  'The columns that the options of an attachment name, with their attnum and type, and the table: one that was restored or created again numbers its columns anew.';

create or replace function qctl._used_columns(p_attachment qctl.attachment) returns table (name text, present text, condition boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select u.key, a.attname::text, p_attachment.uses -> 'condition' ? u.key
  from jsonb_each_text(p_attachment.uses -> 'columns') u
  left join pg_attribute a on a.attrelid = p_attachment.relation and not a.attisdropped
    and case when (p_attachment.uses ->> 'relation')::oid = p_attachment.relation::oid
                  and exists (select from pg_attribute n where n.attrelid = p_attachment.relation and n.attnum = u.value::integer and not n.attisdropped)
             then a.attnum = u.value::integer else a.attname = u.key end
$$;
comment on function qctl._used_columns(qctl.attachment) is 'The columns that the options name, and what each is called now; null if it is gone.';

create or replace function qctl._rename_in_condition(p_condition text, p_bare boolean, p_old text, p_new text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- Literals stay as they are. A quoted name is that name; any other is folded to lower case.
  select string_agg(
    coalesce(part.m[1],
      regexp_replace(
        regexp_replace(part.m[2], row_name.re || '"' || regexp_replace(replace(p_old, '"', '""'), '([^A-Za-z0-9_])', '\\\1', 'g') || '"', '\1' || p_new, 'g'),
        row_name.re || case when p_old ~ '^[a-z_][a-z0-9_]*$' then '\m' || p_old || '\M(?!")' else '(?!)' end, '\1' || p_new, 'gi')),
    '' order by part.n)
  from regexp_matches(p_condition, $re$('(?:[^']|'')*')|([^']+)$re$, 'g') with ordinality as part (m, n)
  cross join (select case when p_bare then '((?<!"))' else '(\m(?:new|old)\M"?\s*\)*\s*\.\s*)' end as re) row_name
$$;

create or replace function qctl._follow_columns(p_attachment qctl.attachment) returns qctl.attachment
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_renamed text[] := array(select array[u.name, u.present] from qctl._used_columns(p_attachment) u where u.present <> u.name order by u.name);
  -- By way of names that appear nowhere else, because two columns may have changed places.
  v_mark constant text := 'qctl_renamed_' || left(md5(concat(p_attachment.when_sql, p_attachment.body_sql)), 8) || '_';
begin
  for i in 1 .. coalesce(array_length(v_renamed, 1), 0) loop
    p_attachment.when_sql := qctl._rename_in_condition(p_attachment.when_sql, (p_attachment.uses ->> 'bare')::boolean, v_renamed[i][1], v_mark || i || 'x');
    p_attachment.body_sql := qctl._rename_in_condition(p_attachment.body_sql, false, v_renamed[i][1], v_mark || i || 'x');
  end loop;
  for i in 1 .. coalesce(array_length(v_renamed, 1), 0) loop
    p_attachment.when_sql := replace(p_attachment.when_sql, v_mark || i || 'x', quote_ident(v_renamed[i][2]));
    p_attachment.body_sql := replace(p_attachment.body_sql, v_mark || i || 'x', quote_ident(v_renamed[i][2]));
  end loop;
  p_attachment.columns := array(
    select coalesce(u.present, c.name) from unnest(p_attachment.columns) with ordinality as c (name, n)
    left join qctl._used_columns(p_attachment) u on u.name = c.name order by c.n);
  p_attachment.order_by := coalesce((select u.present from qctl._used_columns(p_attachment) u where u.name = p_attachment.order_by), p_attachment.order_by);
  return p_attachment;
end
$$;
comment on function qctl._follow_columns(qctl.attachment) is 'The options with the names that their columns have now.';
