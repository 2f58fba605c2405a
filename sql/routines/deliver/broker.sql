-- Brokers: the scheme of a queue's URL picks the carrier, which is how a worker sends. What is published is what a POST would carry.

create or replace function qctl._carrier(p_url text) returns text
language sql immutable parallel safe
return case lower(substring(p_url from '^([A-Za-z][A-Za-z0-9+.-]*)://'))
  when 'http' then 'http' when 'https' then 'http'
  when 'sqs' then 'sqs' when 'sqs+http' then 'sqs'
  when 'amqps' then 'rabbitmq' when 'amqp' then 'rabbitmq'
  when 'nats' then 'nats' when 'nats+plain' then 'nats'
  when 'rediss' then 'redis' when 'redis' then 'redis'
  when 'kafka' then 'kafka' when 'kafka+plain' then 'kafka' end;
comment on function qctl._carrier(text) is 'How a worker must send to that URL: http, or the broker of its scheme; null if no carrier has that scheme.';

create or replace function qctl._can_carry(p_worker_id bigint, p_url text) returns boolean
language sql stable
return p_url ~* '^https?:'
       or coalesce((select qctl._carrier(p_url) = any (w.carriers) from qctl.worker w where w.worker_id = p_worker_id), false);
comment on function qctl._can_carry(bigint, text) is 'True if that worker, or one that did not register, can send to the URL.';

create or replace function qctl._broker_forms() returns table (carrier text, pattern text, example text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select f.carrier, '^' || f.schemes || '://' || h.hosts || f.rest, f.example
  from (select '([A-Za-z0-9._:-]|%[2-7][0-9A-Fa-f]){1,255}' as word) w
  cross join lateral (values
    ('sqs', '(sqs|sqs\+http)', false, '/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?$', 'sqs://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo'),
    ('rabbitmq', 'amqps?', false, format('(/(%1$s)?)?\?(queue=%1$s|exchange=%1$s(&routing_key=(%1$s)?(\{key\}(%1$s)?)?)?)$', w.word),
     'amqps://rabbit.example.com/?exchange=orders&routing_key=order.created'),
    ('nats', '(nats|nats\+plain)', true, '/[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*(\.\{key\})?$', 'nats://nats.example.com/orders.created'),
    ('redis', 'rediss?', false, '/([0-9]{1,3}/)?[A-Za-z0-9._:-]*(\{key\})?[A-Za-z0-9._:-]*$', 'rediss://redis.example.com/orders'),
    ('kafka', '(kafka|kafka\+plain)', true, '/[A-Za-z0-9._-]{1,249}$', 'kafka://kafka-1.example.com:9093,kafka-2.example.com:9093/orders')
  ) as f (carrier, schemes, several, rest, example)
  cross join lateral (select '(\[[0-9a-f.]*:[0-9a-f:.]*\]|[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?)(:[0-9]{1,5})?' as host) o
  cross join lateral (select case when f.several then o.host || '(,' || o.host || ')*' else o.host end as hosts) h
$$;
comment on function qctl._broker_forms() is 'The URL of each broker: a pattern for the URL with its scheme and hosts in lower case, and an example.';

create or replace function qctl._check_broker_url(p_url text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_form record;
  -- Scheme and hosts are the same in capitals; the rest is not.
  v_url text := lower(substring(p_url from '^[^/]*//[^/?#]*')) || substring(p_url from '^[^/]*//[^/?#]*(.*)$');
begin
  select f.* into v_form from qctl._broker_forms() f where f.carrier = qctl._carrier(p_url);
  if p_url ~ '^[^/]*//[^/?#]*@' then
    raise exception 'the URL must not contain a user name or password'
      using errcode = 'QC002', hint = 'every role that can read the settings would see it; use --broker username=NAME --broker password=secret:NAME';
  elsif length(p_url) > 2000 or p_url !~ '^[!-~]+$' or v_url !~ v_form.pattern or p_url ~ '/([0-9]{1,3}/)?$'
        or exists (select from regexp_matches(substring(p_url from '//([^/?#]*)'), ':([0-9]+)(?:,|$)', 'g') as m where m[1]::integer not between 1 and 65535) then
    raise exception '% is not the URL of a destination of %', quote_literal(left(p_url, 200)), v_form.carrier
      using errcode = 'QC002', hint = 'for example ' || v_form.example;
  end if;
end
$$;
comment on function qctl._check_broker_url(text) is 'Raises QC002 unless the URL names a destination of its broker.';

create or replace function qctl._broker_options(p_carrier text) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_carrier
    when 'sqs' then '{region,profile,access_key_id,secret_access_key,session_token,ca}'
    when 'rabbitmq' then '{username,password,ca,cert,key}'
    when 'nats' then '{username,password,token,credentials,ca,cert,key}'
    when 'redis' then '{username,password,ca,cert,key}'
    when 'kafka' then '{sasl,username,password,ca,cert,key}' end::text[]
$$;
comment on function qctl._broker_options(text) is 'The options that the connection to such a broker takes; null for http.';

create or replace function qctl._carrier_defaults(p_url text) returns jsonb
language sql immutable parallel safe
return case when qctl._carrier(p_url) = 'http' then '{"concurrency": 50, "max_in_flight": 1000}' else '{"concurrency": 500, "max_in_flight": 4000}' end::jsonb;
comment on function qctl._carrier_defaults(text) is
  'Settings of a queue whose URL is new, beside those that were given, by how many messages the endpoint or broker can take at once.';

create or replace function qctl._check_broker(p_queue qctl.queue) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_options text[] := qctl._broker_options(qctl._carrier(p_queue.url));
  v_name text;
  v_value text;
begin
  if p_queue.transport = 'pg_net' and v_options is not null then
    raise exception 'pg_net cannot send to %, because it sends HTTP only', quote_literal(p_queue.url)
      using errcode = 'QC002', hint = 'use --transport http: a qctl worker process hands over to a broker';
  elsif p_queue.broker <> '{}' and v_options is null then
    raise exception 'the endpoint % is no broker, so it takes no options of one', quote_literal(p_queue.url)
      using errcode = 'QC002', hint = format('qctl set -q %s --broker ''''', p_queue.queue_name);
  elsif v_options is not null and (p_queue.expect_text is not null or p_queue.expect_json is not null) then
    raise exception 'a broker answers with a confirmation and no body, so --expect-body cannot be met'
      using errcode = 'QC002', hint = format('qctl set -q %s --expect-body ''''', p_queue.queue_name);
  end if;
  for v_name, v_value in select o.key, o.value from jsonb_each_text(p_queue.broker) as o loop
    if v_name <> all (v_options) then
      raise exception '% is not an option of the connection to %', quote_literal(left(v_name, 100)), qctl._carrier(p_queue.url)
        using errcode = 'QC002', hint = 'options: ' || array_to_string(v_options, ', ');
    elsif v_name ~ '^(password|token|secret_access_key|session_token)$' and v_value !~ '^(secret|vault|env):[A-Za-z0-9_.-]+$' then
      raise exception 'the value of % must be a reference, because every role that can read the settings would see it', v_name
        using errcode = 'QC002', hint = format('use --broker %s=secret:NAME, which qctl secret makes, or --broker %1$s=env:VARIABLE, of the worker''s environment', v_name);
    elsif coalesce(v_value, '') = '' or length(v_value) > 1000 or v_value ~ '[\u0001-\u001f\u007f]' then
      raise exception 'option % has a value that is not valid', v_name using errcode = 'QC002', hint = 'use one line of 1 to 1000 characters';
    elsif v_name = 'sasl' and v_value <> all ('{PLAIN,SCRAM-SHA-256,SCRAM-SHA-512}') then
      raise exception '% is not a mechanism', quote_literal(v_value) using errcode = 'QC002', hint = 'sasl: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512';
    end if;
  end loop;
  perform qctl._warn_of_missing_secrets(p_queue.broker);
  select h into v_value from unnest(qctl._hosts_of(p_queue.url)) as h where h !~ '^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$' limit 1;
  if p_queue.url ~* '^(amqp|redis|sqs\+http|nats\+plain|kafka\+plain)://' and v_value is not null then
    raise warning 'messages and passwords go to % without encryption', v_value
      using hint = 'use the form with TLS: ' || (select f.example from qctl._broker_forms() f where f.carrier = qctl._carrier(p_queue.url));
  end if;
end
$$;
comment on function qctl._check_broker(qctl.queue) is
  'Raises QC002 if the transport, the expectation or the options of the connection do not fit the URL; warns of what is sent without encryption.';

create or replace function qctl.broker_options(p_queue text) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return coalesce((select jsonb_object_agg(o.key, case when qctl._is_reference(o.value) then qctl._secret_value(o.value) else o.value end)
                   from jsonb_each_text(v_queue.broker) as o), '{}');
end
$$;
comment on function qctl.broker_options(text) is
  'The options of the connection to the broker of a queue, with the values of its secrets, for the worker; env:NAME is left to the worker.';

create or replace function qctl._is_too_large(p_status integer, p_error text) returns boolean
language sql immutable parallel safe
return p_status is null and coalesce(p_error ~ '^too large: ', false);
comment on function qctl._is_too_large(integer, text) is 'True if the broker takes no message of that size, so another attempt would be of no use.';

create or replace function qctl._is_missing(p_status integer, p_error text) returns boolean
language sql immutable parallel safe
return p_status is null and coalesce(p_error ~ '^destination missing: ', false);
comment on function qctl._is_missing(integer, text) is 'True if the broker has no such queue, exchange, stream or topic.';

create or replace function qctl._costs_nothing(p_status integer, p_error text) returns boolean
language sql immutable parallel safe
return p_status is null and coalesce(p_error ~ '^(broker away|access denied): ', false);
comment on function qctl._costs_nothing(integer, text) is
  'True if the broker took no message at all: it was away or refused the credentials. That costs a message no attempt.';
