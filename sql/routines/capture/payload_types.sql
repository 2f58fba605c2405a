-- Payload types: what JSON the columns of an attached table become, from the catalogue, for those who write receivers.

create or replace function qctl._json_type(p_type oid, p_typmod integer default -1, p_dimensions integer default 1) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type pg_type;
  v_named jsonb := jsonb_build_object('name', format_type(p_type, p_typmod));
  v_items jsonb;
begin
  select * into v_type from pg_type t where t.oid = p_type;
  if v_type.typtype = 'd' then
    return qctl._json_type(v_type.typbasetype, case when v_type.typtypmod >= 0 then v_type.typtypmod else -1 end, greatest(v_type.typndims, 1))
           || v_named || case when v_type.typnotnull then '{"not_null": true}' else '{}'::jsonb end;
  elsif v_type.typelem <> 0 and v_type.typsubscript = 'array_subscript_handler'::regproc then
    v_items := qctl._json_type(v_type.typelem, p_typmod) || '{"null": true}';
    for i in 2 .. p_dimensions loop
      v_items := jsonb_build_object('json', 'array', 'items', v_items);
    end loop;
    return v_named || jsonb_build_object('json', 'array', 'items', v_items);
  elsif v_type.typtype = 'e' then
    return v_named || jsonb_build_object('json', 'string', 'enum', (select jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = p_type));
  elsif p_type in ('json'::regtype, 'jsonb'::regtype)
     -- PostgreSQL makes JSON of a user's type by that type's cast, whatever it gives.
     or p_type >= 16384 and exists (select from pg_cast c where c.castsource = p_type and c.casttarget = 'json'::regtype and c.castmethod = 'f') then
    return v_named || '{"json": "any"}';
  elsif v_type.typtype = 'c' then
    return v_named || jsonb_build_object('json', 'object', 'fields', coalesce((
      select jsonb_agg(jsonb_build_object('name', a.attname, 'type', qctl._json_type(a.atttypid, a.atttypmod, greatest(a.attndims, 1)) || '{"null": true}') order by a.attnum)
      from pg_attribute a where a.attrelid = v_type.typrelid and a.attnum > 0 and not a.attisdropped), '[]'));
  end if;
  return v_named || case p_type
    when 'bool'::regtype then '{"json": "boolean"}'
    when 'int2'::regtype then '{"json": "integer", "least": -32768, "most": 32767}'
    when 'int4'::regtype then '{"json": "integer", "least": -2147483648, "most": 2147483647}'
    when 'int8'::regtype then '{"json": "integer", "least": -9223372036854775808, "most": 9223372036854775807, "rounded": true}'
    when 'float4'::regtype then '{"json": "number", "texts": ["NaN", "Infinity", "-Infinity"]}'
    when 'float8'::regtype then '{"json": "number", "texts": ["NaN", "Infinity", "-Infinity"]}'
    when 'numeric'::regtype then jsonb_build_object(
      'json', 'number', 'texts', case when p_typmod < 0 then '["NaN", "Infinity", "-Infinity"]' else '["NaN"]'::jsonb end,
      -- JavaScript keeps 15 decimal digits.
      'rounded', p_typmod < 0 or ((p_typmod - 4) >> 16) & 65535 > 15)
    when 'varchar'::regtype then case when p_typmod > 4 then jsonb_build_object('json', 'string', 'longest', p_typmod - 4) else '{"json": "string"}' end
    when 'bpchar'::regtype then case when p_typmod > 4 then jsonb_build_object('json', 'string', 'longest', p_typmod - 4) else '{"json": "string"}' end
    when 'uuid'::regtype then '{"json": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}'
    when 'date'::regtype then '{"json": "string", "pattern": "^(-?infinity|\\d{4,7}-\\d\\d-\\d\\d( BC)?)$"}'
    when 'timestamp'::regtype then '{"json": "string", "pattern": "^(-?infinity|\\d{4,6}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?( BC)?)$"}'
    when 'timestamptz'::regtype
    then '{"json": "string", "pattern": "^(-?infinity|\\d{4,6}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?[+-]\\d\\d(:\\d\\d){0,2}( BC)?)$"}'
    when 'time'::regtype then '{"json": "string", "pattern": "^\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?$"}'
    when 'timetz'::regtype then '{"json": "string", "pattern": "^\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?[+-]\\d\\d(:\\d\\d){0,2}$"}'
    when 'bytea'::regtype then '{"json": "string", "pattern": "^\\\\x([0-9a-f]{2})*$"}'
    when 'bit'::regtype then '{"json": "string", "pattern": "^[01]*$"}'
    when 'varbit'::regtype then '{"json": "string", "pattern": "^[01]*$"}'
    else '{"json": "string"}' end::jsonb;
end
$$;
comment on function qctl._json_type(oid, integer, integer) is
  'What to_jsonb makes of a type. json: string, number, integer, boolean, array, object or any. texts: values that are texts although the others are numbers. '
  'rounded: JavaScript''s JSON.parse rounds large values.';

create or replace function qctl.payload_types(p_queue text)
returns table (relation text, schema_name text, table_name text, operations text[], format text, has_body boolean, key_columns text[], columns jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query
  select qctl._table_name(c.oid), n.nspname::text, c.relname::text, a.operations, a.payload, a.body_sql is not null,
         array(select k.attname::text from pg_index i join pg_attribute k on k.attrelid = i.indrelid and k.attnum = any (i.indkey::smallint[])
               where i.indrelid = c.oid and i.indisprimary order by array_position(i.indkey::smallint[], k.attnum)),
         (select coalesce(jsonb_agg(jsonb_build_object('name', f.attname, 'type', t.type - 'not_null'
                                              || case when f.attnotnull and not k.unchecked or t.type ? 'not_null' then '{}' else '{"null": true}'::jsonb end) order by f.attnum), '[]')
          from pg_attribute f cross join lateral (select qctl._json_type(f.atttypid, f.atttypmod, greatest(f.attndims, 1)) as type) t
          -- From PostgreSQL 18 on a column may be not null only for what is written from now on.
          cross join lateral (select exists (select from pg_constraint x where x.conrelid = c.oid and x.contype = 'n' and x.conkey = array[f.attnum] and not x.convalidated) as unchecked) k
          where f.attrelid = c.oid and f.attnum > 0 and not f.attisdropped and f.attgenerated <> 'v')
  from qctl.attachment a join pg_class c on c.oid = qctl._attached_relation(a.name) join pg_namespace n on n.oid = c.relnamespace
  where a.queue_id = v_queue.queue_id order by 1;
end
$$;
comment on function qctl.payload_types(text) is
  'For each table that is attached to a queue: what its messages hold. columns: of each its name and its type as qctl._json_type() gives it, with null where it may be null.';
