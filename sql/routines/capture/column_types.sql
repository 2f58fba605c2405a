-- Column types: whose code a row's conversion may run, and what of it a session's settings change.

create or replace function qctl._column_types(p_relation oid) returns setof oid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Planning the query below takes milliseconds of each session's first write, and most tables need none of it.
  if not exists (select from pg_attribute a join pg_type t on t.oid = a.atttypid
                 where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped
                   and (t.typelem <> 0 or t.typbasetype <> 0 or t.typrelid <> 0 or t.typtype in ('r', 'm'))) then
    return query select a.atttypid from pg_attribute a where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped;
    return;
  end if;
  return query
  with recursive kinds as (
    select a.atttypid as id from pg_attribute a where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped
    union
    select u.id from kinds k
    join pg_type t on t.oid = k.id
    cross join lateral (
      select t.typelem as id where t.typelem <> 0
      union all select t.typbasetype where t.typtype = 'd'
      union all select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
      union all select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
    ) u
  )
  select k.id from kinds k;
end
$$;
comment on function qctl._column_types(oid) is 'The types of a table''s columns and of what they are made of.';

create or replace function qctl._has_only_builtin_types(p_relation oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- PostgreSQL looks for a cast to json, which may be anybody's code, only from types numbered like a user's.
  select not exists (select from qctl._column_types(p_relation) t where t >= 16384 or t in ('json'::regtype, 'xml'::regtype))
$$;
comment on function qctl._has_only_builtin_types(oid) is 'Does converting a row to jsonb run nothing but PostgreSQL''s own code, without errors?';

create or replace function qctl._pinned_settings() returns table (name text, value text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  values ('timezone', 'UTC'), ('datestyle', 'ISO, MDY'), ('intervalstyle', 'postgres'), ('extra_float_digits', '1'), ('bytea_output', 'hex'), ('lc_monetary', 'C')
$$;
comment on function qctl._pinned_settings() is 'Settings that change how values are written: every writer gives the same text for a value.';

create or replace function qctl._settings_that_change(p_relation oid, p_only_json boolean) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with types as materialized (
    select t.oid, t.typtype in ('r', 'm') as is_range
    from qctl._column_types(p_relation) c join pg_type t on t.oid = c
  ), wanted as (
    select case
             -- Code of the owner may write anything as text, and so may the output of a user's type.
             when not p_only_json and t.oid in ('timestamp'::regtype, 'date'::regtype, 'timestamptz'::regtype, 'timetz'::regtype, 'float4'::regtype, 'float8'::regtype,
                                                'path'::regtype, 'polygon'::regtype, 'circle'::regtype, 'interval'::regtype, 'bytea'::regtype, 'money'::regtype)
                  or t.oid >= 16384 or t.oid = 'xml'::regtype then array(select s.name from qctl._pinned_settings() s)
             -- JSON has its own form for times, but not for those in a range.
             when t.is_range then '{timezone,datestyle}'
             when t.oid = 'timestamptz'::regtype then '{timezone}'
             when t.oid = 'timetz'::regtype then '{datestyle}'
             when t.oid = 'interval'::regtype then '{intervalstyle}'
             when t.oid in ('float4'::regtype, 'float8'::regtype, 'path'::regtype, 'polygon'::regtype, 'circle'::regtype) then '{extra_float_digits}'
             when t.oid = 'bytea'::regtype then '{bytea_output}'
             when t.oid = 'money'::regtype then '{lc_monetary}' end as names
    from types t
  )
  select coalesce(array_agg(distinct n order by n), '{}') from wanted w cross join unnest(w.names) n
$$;
comment on function qctl._settings_that_change(oid, boolean) is
  'The settings of a session that may change how a row of that table is written: as JSON, or as anything that an expression makes of it.';

create or replace function qctl._virtual_columns(p_relation oid) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(a.attname::text order by a.attnum) from pg_attribute a
  where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped and a.attgenerated = 'v'
$$;
comment on function qctl._virtual_columns(oid) is 'Generated columns that are computed when read: a trigger''s row has null in their place.';
