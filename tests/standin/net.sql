-- What pg_net's SQL objects look like from outside: tables, types, defaults, signatures, grants. Nothing of its code.
create schema net;

create domain net.http_method as text check (value in ('GET', 'POST', 'DELETE'));

create unlogged table net.http_request_queue (
  id                   bigserial,
  method               net.http_method not null,
  url                  text not null,
  headers              jsonb,
  body                 bytea,
  timeout_milliseconds integer not null
);

create unlogged table net._http_response (
  id           bigint,
  status_code  integer,
  content_type text,
  headers      jsonb,
  content      text,
  timed_out    boolean,
  error_msg    text,
  created      timestamptz not null default now()
);
create index on net._http_response (created);

create function net._encode_url_with_params_array(url text, params_array text[]) returns text
language plpgsql immutable strict as $$
begin
  if url !~* '^https?://[^/]' or url ~ '\s' then
    raise exception 'invalid URL "%"', url using errcode = 'XX000';
  end if;
  return url || case when cardinality(params_array) > 0 then '?' || array_to_string(params_array, '&') else '' end;
end
$$;

create function net.wake() returns void language sql as $$ select pg_notify('pg_net_stand_in', '') $$;

create function net.http_post(
  url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{"Content-Type": "application/json"}',
  timeout_milliseconds integer default 5000)
returns bigint language plpgsql as $$
declare
  v_type text;
  v_id bigint;
begin
  select h.value into v_type from jsonb_each_text(coalesce(http_post.headers, '{}')) h where lower(h.key) = 'content-type' limit 1;
  if v_type is null then
    http_post.headers := coalesce(http_post.headers, '{}') || '{"Content-Type": "application/json"}';
  elsif v_type <> 'application/json' then
    raise exception 'Content-Type header must be "application/json"';
  end if;
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('POST', net._encode_url_with_params_array(http_post.url, array(
            select p.key || '=' || p.value from jsonb_each_text(http_post.params) p)),
          http_post.headers, convert_to(http_post.body::text, 'UTF8'), http_post.timeout_milliseconds)
  returning id into v_id;
  perform net.wake();
  return v_id;
end
$$;

create function net.http_get(url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000)
returns bigint language sql as $$
  insert into net.http_request_queue (method, url, headers, timeout_milliseconds)
  values ('GET', net._encode_url_with_params_array(url, '{}'), headers, timeout_milliseconds);
  select net.wake();
  select currval('net.http_request_queue_id_seq');
$$;

-- Puts bytes into a text column unchecked, as pg_net does with answers.
create function net._raw(bytea, integer) returns text language internal immutable strict as 'bytea_substr_no_len';

grant usage on schema net to public;
grant all on all tables in schema net to public;
grant all on all sequences in schema net to public;
