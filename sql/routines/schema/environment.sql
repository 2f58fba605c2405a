-- Environment: what the server offers and what the current role may use.

create or replace function qctl._setting(p_name text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(current_setting(p_name, true), '');
exception when insufficient_privilege then
  return null;
end
$$;
comment on function qctl._setting(text) is 'The value of a setting; null if it does not exist or this role may not read it.';

create or replace function qctl._cron_here() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'cron' and p.proname = 'schedule' and p.pronargs = 3
      and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute'))
$$;
comment on function qctl._cron_here() is 'True if this role can schedule pg_cron jobs in this database.';

create or replace function qctl._version() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select m.qctl_version from qctl.routine m order by m.applied_at desc limit 1
$$;

create or replace function qctl._version_number(p_version text) returns integer[]
language sql immutable parallel safe
return string_to_array(nullif(substring(p_version from '^[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}'), ''), '.')::integer[];

create or replace function qctl._word(p_text text) returns text
language sql immutable parallel safe
return case when p_text ~ '^[A-Za-z0-9_./:@%+=,-]+$' then p_text else '''' || replace(p_text, '''', '''\''''') || '''' end;
comment on function qctl._word(text) is 'The text quoted as one word of a shell command.';
