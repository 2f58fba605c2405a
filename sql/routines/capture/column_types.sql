-- Column types: whose code a row's conversion may run, and what of it a session's settings change.

create or replace function qctl._column_types(p_relation oid) returns setof oid
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
      union all select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
      union all select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
    ) u
  )
  select k.id from kinds k
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

create or replace function qctl._depends_on_settings(p_relation oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from qctl._column_types(p_relation) t
    where t >= 16384
       or t in ('float4'::regtype, 'float8'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'date'::regtype, 'timetz'::regtype,
                'interval'::regtype, 'bytea'::regtype, 'money'::regtype, 'xml'::regtype))
$$;
comment on function qctl._depends_on_settings(oid) is
  'Is there a column whose text may depend on the session, by TimeZone, DateStyle, IntervalStyle, extra_float_digits, bytea_output or lc_monetary?';

create or replace function qctl._virtual_columns(p_relation oid) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(a.attname::text order by a.attnum) from pg_attribute a
  where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped and a.attgenerated = 'v'
$$;
comment on function qctl._virtual_columns(oid) is 'Generated columns that are computed when read: a trigger''s row has null in their place.';
