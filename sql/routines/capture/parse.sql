-- Parse: what a user's SQL over a table means, found out as the table's owner: literals of the table's types go through code that may be
-- that role's, already when a statement is only parsed.

create or replace function qctl._parses_as(p_relation regclass) returns name
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- Where nobody may act for the owner, capture runs as who attaches too, and says so.
  select case when pg_has_role(c.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end)
              then pg_get_userbyid(c.relowner) else current_user end
  from pg_class c where c.oid = p_relation
$$;

create or replace function qctl._columns_parsed(p_relation regclass, p_query text) returns text[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
  v_name text := 'check_' || pg_backend_pid();
  v_maker text := format('qctl.%I', v_name || '_maker');
  v_owner name := qctl._parses_as(p_relation);
  v_me name := current_user;
  v_missing text;
  v_columns text[];
begin
  execute format('create function %s(text, text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp '
                 'set check_function_bodies = on as %L', v_maker, $body$
begin
  -- The first is only parsed; the second notes what it uses, and is not executed either.
  execute format('create function qctl.%I() returns bigint language sql as %L', $1, $2);
  execute format('drop function qctl.%I()', $1);
  execute format(E'create function qctl.%I() returns bigint language sql begin atomic\n%s;\nend', $1, $2);
end
$body$);
  execute format('revoke all on function %s(text, text) from public', v_maker);
  if v_owner <> v_me then
    v_missing := (select string_agg(r, ', ') from unnest('{CREATE,USAGE}'::text[]) r where not has_schema_privilege(v_owner, 'qctl', r));
    if v_missing is not null then
      execute format('grant %s on schema qctl to %I', v_missing, v_owner);
    end if;
    execute format('grant execute on function %s(text, text) to %I', v_maker, v_me);
    execute format('alter function %s(text, text) owner to %I', v_maker, v_owner);
  end if;
  execute format('select %s($1, $2)', v_maker) using v_name, p_query;
  v_columns := array(
    select distinct a.attname::text from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_proc'::regclass and d.objid = to_regprocedure(format('qctl.%I()', v_name)) and d.refobjid = p_relation and d.refobjsubid > 0
    order by 1);
  execute format('drop function qctl.%I()', v_name);
  execute format('drop function %s(text, text)', v_maker);
  if v_missing is not null then
    execute format('revoke %s on schema qctl from %I', v_missing, v_owner);
  end if;
  if current_setting('search_path') <> 'pg_catalog, pg_temp' then
    raise exception 'code of the owner of % changes search_path', p_relation using errcode = 'QC007', hint = 'a type of the table or what it uses does that';
  end if;
  return v_columns;
end
$$;
comment on function qctl._columns_parsed(regclass, text) is
  'Parses a query as the table''s owner, without planning or executing it; returns the columns of the table that it names. Raises its errors.';
