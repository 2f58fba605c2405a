-- Header secrets: values of HTTP headers that are stored apart from the queue's settings and inserted at the claim.

create or replace function qctl.set_header_secret(p_name text, p_value text) returns table (name text, changed boolean, used_by text[])
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_value text := rtrim(p_value, E'\r\n');
  v_old text;
begin
  if p_name is null or p_name !~ '^[A-Za-z0-9_.-]{1,100}$' then
    raise exception '% is not a valid secret name', quote_literal(coalesce(left(p_name, 100), ''))
      using errcode = 'QC002', hint = 'use 1 to 100 letters, digits, _, . or -';
  end if;
  if v_value is null or v_value = '' or not qctl._is_header('x', to_jsonb(v_value)) then
    raise exception 'the value of secret ''%'' cannot be sent as a header', p_name
      using errcode = 'QC002', hint = 'use one line of 1 to 4096 characters';
  end if;
  select s.value into v_old from qctl.header_secret s where s.name = p_name;
  if v_old is distinct from v_value then
    insert into qctl.header_secret as s (name, value) values (p_name, v_value)
    on conflict (name) do update set (value, changed_at, changed_by) = (excluded.value, clock_timestamp(), session_user);
    perform qctl._audit('secret_set', null, jsonb_build_object('name', p_name, 'new', v_old is null));
    perform qctl._notify(q.queue_id), qctl._endpoint_changed(q.queue_id) from qctl.queue q
    where q.queue_name = any (qctl._secret_users('secret:' || p_name));
  end if;
  return query select p_name, v_old is distinct from v_value, qctl._secret_users('secret:' || p_name);
end
$$;
comment on function qctl.set_header_secret(text, text) is
  'Stores the value of a header. From the next claim on, queues send it where their headers say secret:NAME.';

create or replace function qctl.drop_header_secret(p_name text) returns table (name text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_users text[] := qctl._secret_users('secret:' || p_name);
begin
  if cardinality(v_users) > 0 then
    raise exception 'secret ''%'' is in use by %, which could not deliver without it', p_name, array_to_string(v_users, ', ')
      using errcode = 'QC007', hint = 'change the headers first: qctl set -q QUEUE --no-header NAME';
  end if;
  delete from qctl.header_secret s where s.name = p_name;
  if not found then
    raise exception 'secret % not found', quote_literal(coalesce(left(p_name, 100), '')) using errcode = 'QC006', hint = 'qctl secret list';
  end if;
  perform qctl._audit('secret_drop', null, jsonb_build_object('name', p_name));
  name := p_name;
  return query select p_name;
end
$$;

create or replace function qctl.header_secrets()
returns table (reference text, changed_at timestamptz, changed_by text, used_by text[], there boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select n.reference, s.changed_at, s.changed_by, qctl._secret_users(n.reference), qctl._missing_secrets(jsonb_build_object('x', n.reference)) is null
  from (select 'secret:' || s.name from qctl.header_secret s
        union select h.value from qctl.queue q cross join lateral (select * from jsonb_each_text(q.headers) union all select * from jsonb_each_text(q.broker)) as h
        where qctl._is_reference(h.value)) as n (reference)
  left join qctl.header_secret s on n.reference = 'secret:' || s.name
  order by 1
$$;
comment on function qctl.header_secrets() is
  'The header secrets that exist or that queues name, and the queues that send them. Never returns the values.';

create or replace function qctl._warn_of_missing_secrets(p_headers jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text := qctl._missing_secrets(p_headers);
begin
  if v_missing is not null then
    raise warning 'the queue does not deliver until % exists', v_missing using hint = qctl._secret_hint(v_missing);
  end if;
end
$$;

create or replace function qctl._secret_users(p_reference text) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(distinct q.queue_name order by q.queue_name), '{}')
  from qctl.queue q cross join lateral (select * from jsonb_each_text(q.headers) union all select * from jsonb_each_text(q.broker)) as h
  where h.value = p_reference
$$;

create or replace function qctl._is_reference(p_value text) returns boolean
language sql immutable parallel safe
return coalesce(p_value ~ '^(secret|vault):', false);
comment on function qctl._is_reference(text) is 'True if the value of a header is a reference to a secret.';

create or replace function qctl._secret_value(p_reference text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text := substring(p_reference from '^[a-z]+:(.*)$');
  v_value text;
begin
  if p_reference ~ '^secret:' then
    select s.value into v_value from qctl.header_secret s where s.name = v_name;
  elsif to_regclass('vault.decrypted_secrets') is not null then
    execute 'select s.decrypted_secret from vault.decrypted_secrets s where s.name = $1 order by s.created_at desc limit 1' into v_value using v_name;
  end if;
  return rtrim(v_value, E'\r\n');
exception when insufficient_privilege then
  return null;
end
$$;
comment on function qctl._secret_value(text) is
  'The value that secret:NAME or vault:NAME refers to; null if there is none or this role may not read it.';

create or replace function qctl._missing_secrets(p_headers jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(distinct h.value, ', ') from jsonb_each_text(p_headers) as h
  where qctl._is_reference(h.value)
    and not coalesce(qctl._is_header('x', to_jsonb(qctl._secret_value(h.value))) and qctl._secret_value(h.value) <> '', false)
$$;
comment on function qctl._missing_secrets(jsonb) is
  'The references in these headers that have no value or one that cannot be sent; null if every value exists.';

create or replace function qctl._missing_of(p_queue qctl.queue) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select nullif(concat_ws(', ', qctl._missing_secrets(p_queue.headers), qctl._missing_secrets(p_queue.broker)), '')
$$;
comment on function qctl._missing_of(qctl.queue) is 'As qctl._missing_secrets, of the headers of a queue and of the connection to its broker.';

create or replace function qctl._secret_hint(p_references text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_references ~ '^vault:'
              then format('in Supabase: select vault.create_secret(VALUE, %L); the role that installed qctl must be able to read '
                          'vault.decrypted_secrets',
                          substring(split_part(p_references, ', ', 1) from 7))
              else 'qctl secret set ' || coalesce(nullif(substring(split_part(p_references, ', ', 1) from 8), ''), 'NAME') end
$$;

create or replace function qctl._resolved_headers(p_queue qctl.queue) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text;
begin
  if not (p_queue.headers::text ~ '"(secret|vault):' or p_queue.broker <> '{}' and p_queue.broker::text ~ '"(secret|vault):') then
    return p_queue.headers;
  end if;
  v_missing := qctl._missing_of(p_queue);
  if v_missing is not null then
    raise exception 'queue ''%'' cannot deliver because % is missing', p_queue.queue_name, v_missing
      using errcode = 'QC006', hint = qctl._secret_hint(v_missing);
  end if;
  -- Without a header, but with a secret of the broker, there is nothing to aggregate.
  return coalesce((select jsonb_object_agg(h.key, case when qctl._is_reference(h.value) then qctl._secret_value(h.value) else h.value end)
                   from jsonb_each_text(p_queue.headers) as h), '{}');
end
$$;
comment on function qctl._resolved_headers(qctl.queue) is
  'The headers of the queue with the values of its secrets. Raises an error if one is missing because nothing may be sent without it.';
