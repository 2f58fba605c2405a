-- Rows by their text: what is held of a row whose types may bring code of the table's owner while that code must not run. Writing a row
-- as text calls only output functions, which are PostgreSQL's or a superuser's: no cast, no domain, no condition.

create or replace function qctl._json_of_text(p_type oid, p_value text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_json jsonb;
begin
  if p_type < 16384 then
    execute format('select to_jsonb($1::%s)', format_type(p_type, -1)) into v_json using p_value;
    return v_json;
  elsif exists (select from pg_type t join pg_type e on e.oid = t.typelem where t.oid = p_type and t.typlen = -1 and e.typtype = 'e') then
    return to_jsonb(p_value::text[]);
  end if;
  return coalesce((select qctl._json_of_text(t.typbasetype, p_value) from pg_type t where t.oid = p_type and t.typtype = 'd'), to_jsonb(p_value));
exception when others then
  return to_jsonb(p_value);
end
$$;
comment on function qctl._json_of_text(oid, text) is
  'A value of this type as to_jsonb gives it, for the types of PostgreSQL and for enums and domains of them; as text for all others.';

create or replace function qctl._text_row(p_relation oid, p_row anyelement, p_hidden text[], p_max_bytes integer) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
set extra_float_digits = 1
set bytea_output = 'hex'
set lc_monetary = 'C'
as $$
declare
  v_text text;
  v_large constant boolean := pg_column_size(p_row) > p_max_bytes;
begin
  v_text := pg_catalog.record_out(p_row);
  return (
    with field as (
      select m.match, m.n
      from regexp_matches(substr(v_text, 2, length(v_text) - 2) || ',', '(?:"((?:[^"]|"")*)"|([^,"]*)),', 'g') with ordinality as m (match, n)
    ), named as (
      select a.attname, a.attnum, a.atttypid, row_number() over (order by a.attnum) as n
      from pg_attribute a where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped
    )
    select jsonb_object_agg(c.attname, case
      when f.match[1] is null and f.match[2] = '' then 'null'
      else qctl._json_of_text(c.atttypid, coalesce(replace(replace(f.match[1], '""', '"'), E'\\\\', E'\\'), f.match[2])) end)
    from named c join field f using (n)
    where c.attname <> all (p_hidden)
      and (not v_large or exists (select from pg_index i where i.indrelid = p_relation and i.indisprimary and c.attnum = any (i.indkey::smallint[]))));
exception when others then
  -- Too large for any text.
  return null;
end
$$;
comment on function qctl._text_row(oid, anyelement, text[], integer) is
  'A row whose types may bring code of the owner, converted without running that code. Of one larger than p_max_bytes only its primary key; null if that fails.';

create or replace function qctl._unowned_row(p_operation text, p_record jsonb, p_old_record jsonb, p_large boolean, p_problem text) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('problem', p_problem)
         || case when p_operation <> 'DELETE' then jsonb_build_object('record', coalesce(p_record, '{}')) else '{}' end
         || case when p_operation <> 'INSERT' then jsonb_build_object('old_record', coalesce(p_old_record, '{}')) else '{}' end
         || case when p_large or p_operation <> 'DELETE' and p_record is null or p_operation <> 'INSERT' and p_old_record is null then '{"truncated": true}'::jsonb else '{}' end
$$;
comment on function qctl._unowned_row(text, jsonb, jsonb, boolean, text) is 'A row whose condition and key must not be computed now: held with its values.';
