-- pg_net in this database: its tables, its epoch, and how many requests it may take.

create or replace function qctl._net_relation(p_name text) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'net' and c.relname = p_name
$$;

create or replace function qctl._net_readable() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(bool_and(has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')), true)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'net' and c.relname in ('http_request_queue', '_http_response')
$$;
comment on function qctl._net_readable() is
  'True if this role may read the tables of pg_net. Also true if they do not exist, because then every request is known to be gone.';

create or replace function qctl._check_net_url(p_url text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where n.nspname = 'net' and p.proname = '_encode_url_with_params_array') then
    perform net._encode_url_with_params_array(p_url, '{}'::text[]);
  end if;
exception when others then
  raise exception 'pg_net refuses this URL: %', left(sqlerrm, 200)
    using errcode = 'QC002', hint = 'write it in a form that curl accepts, or use --transport http';
end
$$;

create or replace function qctl._net_is_open() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_namespace n join pg_class c on c.relnamespace = n.oid
                 where n.nspname = 'net' and c.relname = 'http_request_queue'
                   and has_schema_privilege('public', n.oid, 'usage') and has_table_privilege('public', c.oid, 'select'))
$$;
comment on function qctl._net_is_open() is 'True if every role of this database may read the requests of pg_net.';

create or replace function qctl._check_net_headers(p_queue qctl.queue) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  p_headers jsonb := p_queue.headers;
  v_names text;
begin
  select string_agg(h.key, ', ') into v_names from jsonb_each_text(p_headers) as h where qctl._is_reference(h.value);
  if v_names is not null and not p_queue.net_secrets and qctl._net_is_open() then
    raise exception 'on pg_net every role of this database can read the secret in header %', v_names
      using errcode = 'QC007', detail = 'PUBLIC may use schema net and read its tables.',
            hint = 'use --transport http; or --accept-net-secrets, if no other role can log in to this database';
  end if;
  if coalesce(p_headers ->> 'content-type', 'application/json') <> 'application/json' then
    raise exception 'pg_net can send only the content type application/json'
      using errcode = 'QC002', hint = 'remove the header, or use --transport http';
  end if;
end
$$;

create or replace function qctl._check_net_formats(p_queue qctl.queue) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_queue.transport = 'pg_net'
     and (exists (select from qctl.attachment a where a.queue_id = p_queue.queue_id and a.payload = 'cloudevents')
          or exists (select from qctl.event_route r where r.queue_id = p_queue.queue_id and r.format = 'cloudevents')) then
    raise exception 'pg_net can send only the content type application/json, and CloudEvents have their own'
      using errcode = 'QC007', hint = format('qctl set -q %s --transport http', p_queue.queue_name);
  end if;
end
$$;
comment on function qctl._check_net_formats(qctl.queue) is 'Refuses a format that pg_net cannot send.';

create or replace function qctl._net_max_body(p_version text) returns integer
language sql immutable parallel safe
return case when p_version ~ '^\d+(\.\d+)+$'
             and (string_to_array(p_version, '.')::integer[] < '{0,11,0}' or string_to_array(p_version, '.')::integer[] > '{0,20,4}')
            then null else 49152 end;
comment on function qctl._net_max_body(text) is
  'The largest body in bytes that this version of pg_net sends reliably; null for no limit. 0.11.0 to 0.20.4 hang on bodies over 64 KB, '
  'and 0.20.5 reports itself as 0.20.4.';

create or replace function qctl._net_ident() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('%s/%s/%s/%s/%s', c.system_identifier, d.oid, qctl._net_relation('http_request_queue'),
                pg_relation_filenode(qctl._net_relation('http_request_queue_id_seq')::regclass), 'qctl.net_epoch'::regclass::oid)
  from pg_control_system() c, pg_database d
  where d.datname = current_database() and qctl._net_relation('http_request_queue') is not null
$$;
comment on function qctl._net_ident() is
  'Identifies the cluster, the database, pg_net''s table, the file of its sequence (TRUNCATE ... RESTART IDENTITY makes a new one) and '
  'qctl''s marker table; null if pg_net is not installed.';

create or replace function qctl._net_last_id() returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sequence oid := qctl._net_relation('http_request_queue_id_seq');
begin
  if v_sequence is not null and has_sequence_privilege(v_sequence, 'usage, select') then
    return coalesce(pg_sequence_last_value(v_sequence::regclass), 0);
  end if;
  return null;
end
$$;
comment on function qctl._net_last_id() is 'The last request id of pg_net for all programs; null if this role may not see it.';

create or replace function qctl._net_epoch() returns uuid
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ident text := qctl._net_ident();
  v_epoch uuid;
begin
  if v_ident is null then
    return null;
  end if;
  for v_try in 1..2 loop
    select e.epoch into v_epoch from qctl.net_epoch e
    where e.ident = v_ident and coalesce(qctl._net_last_id() >= e.last_request_id, true);
    if found then
      return v_epoch;
    end if;
    if v_try = 1 then
      perform pg_advisory_xact_lock(qctl._lock_space('singleton'), qctl._lock_key('net_epoch'));
    end if;
  end loop;
  insert into qctl.net_epoch as e (epoch, ident, began_at) values (gen_random_uuid(), v_ident, clock_timestamp())
  on conflict (one) do update
    set (epoch, ident, began_at, last_request_id) = (excluded.epoch, excluded.ident, excluded.began_at, 0)
  returning e.epoch into v_epoch;
  return v_epoch;
end
$$;
comment on function qctl._net_epoch() is
  'The present epoch: the time between two losses of pg_net''s tables or ids. An answer counts only for a request of the same epoch, and '
  'only if it is not older than the epoch. Null if pg_net is not installed.';

create or replace function qctl._net_batch_size() returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(qctl._setting('pg_net.batch_size')::integer, 200)
$$;
comment on function qctl._net_batch_size() is
  'The number of requests that pg_net starts at once, which is also about what it sends in a second.';

create or replace function qctl._net_pending(p_most integer) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select count(*) from (select from net.http_request_queue limit p_most) as p);
end
$$;
comment on function qctl._net_pending(integer) is 'The number of requests of all programs in pg_net''s queue, counted up to p_most.';

create or replace function qctl._net_allowed(p_timeout_ms integer) returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select qctl._net_batch_size() * least(2, greatest(1, 60000 / (p_timeout_ms + 1000)))
$$;
comment on function qctl._net_allowed(integer) is
  'The number of requests that may be in pg_net''s queue: the batches that it starts in 60 s if each takes the whole timeout, at most two '
  'because more would only delay new requests.';
