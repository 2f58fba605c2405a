-- What comes from outside made safe to keep and to read, and the ids and times that are derived from data.

create or replace function qctl._text(p_bytes bytea, p_max_bytes integer default 4096) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cut bytea := substring(p_bytes from 1 for p_max_bytes);
begin
  begin
    return convert_from(v_cut, 'UTF8');
  exception when data_exception then
    null;
  end;
  -- A cut may have split the last character: up to three bytes of it remain.
  for v_trim in 1..3 loop
    begin
      exit when length(p_bytes) <= p_max_bytes;
      return convert_from(substring(v_cut from 1 for length(v_cut) - v_trim), 'UTF8');
    exception when data_exception then
      null;
    end;
  end loop;
  return substring(encode(v_cut, 'escape') from 1 for p_max_bytes);
end
$$;
comment on function qctl._text(bytea, integer) is
  'First bytes of an answer as valid text; what is no UTF-8 comes back as PostgreSQL''s escape notation.';

create or replace function qctl._response_text(p_response bytea) returns text
language sql immutable parallel safe
return case when length(p_response) <= 4096 and length(encode(p_response, 'escape')) = length(p_response) then nullif(encode(p_response, 'escape'), '')
            else qctl._text(p_response) end;
comment on function qctl._response_text(bytea) is
  'An answer as the attempt log keeps it, null for none. Plain ASCII, as most are, is copied by an expression that needs no call.';

create or replace function qctl.webhook_id(p_queue_uuid uuid, p_msg_id bigint, p_enqueued_at timestamptz) returns text
language sql immutable parallel safe
return 'msg_' || encode(
  sha256(uuid_send(p_queue_uuid) || int8send(p_msg_id)
         || int8send(case when p_enqueued_at > '4000-01-01 BC' and p_enqueued_at < '200000-01-01'
                          then (extract(epoch from p_enqueued_at at time zone interval '0') * 1000000)::bigint else 0 end)), 'hex');
comment on function qctl.webhook_id(uuid, bigint, timestamptz) is
  'Standard Webhooks id of an event: the same over retries and replays, another after a re-create or failover.';

create or replace function qctl._is_rejection(p_status integer) returns boolean
language sql immutable parallel safe
return coalesce(p_status in (400, 413, 415, 422), false);
comment on function qctl._is_rejection(integer) is 'Answers that concern the payload, not the endpoint''s health.';

create or replace function qctl._is_success(p_status integer) returns boolean
language sql immutable parallel safe
return coalesce(p_status between 200 and 299, false);

create or replace function qctl._backoff_s(p_schedule_s integer[], p_failures integer, p_jitter double precision)
returns double precision
language sql volatile parallel safe
return coalesce(p_schedule_s[least(p_failures, cardinality(p_schedule_s))], 0) * (1 + p_jitter * (2 * random() - 1));
comment on function qctl._backoff_s(integer[], integer, double precision) is
  'Seconds to wait after that many failures: the schedule''s step, spread evenly by plus or minus the jitter.';

create or replace function qctl._mark_number(p_headers jsonb, p_key text) returns integer
language sql immutable parallel safe
return case when jsonb_typeof(p_headers #> array['qctl', p_key]) = 'number' and p_headers #>> array['qctl', p_key] ~ '^[0-9]{1,8}$'
            then (p_headers #>> array['qctl', p_key])::integer end;
comment on function qctl._mark_number(jsonb, text) is
  'A number that settle left in an archived message''s headers; null if that is no number, for producers can write there too.';

create or replace function qctl._mark_webhook_id(p_headers jsonb) returns text
language sql immutable parallel safe
return case when p_headers #>> '{qctl,webhook_id}' ~ '^msg_[0-9a-f]{64}$' then p_headers #>> '{qctl,webhook_id}' end;
comment on function qctl._mark_webhook_id(jsonb) is 'The override of a webhook-id in an archived message''s headers, if it is one.';

create or replace function qctl._octets(p_text text, p_most integer default 4096) returns bytea
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when current_setting('client_encoding') = current_setting('server_encoding')
              then substring(textsend(p_text) from 1 for p_most) end
$$;
comment on function qctl._octets(text, integer) is
  'The first bytes of a text that may hold no valid UTF-8, as pg_net''s answers may; null for a client of another encoding.';

create or replace function qctl._header(p_headers jsonb, p_name text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_value text;
begin
  if jsonb_typeof(p_headers) is distinct from 'object' then
    return null;
  end if;
  -- pg_net keeps what the server sent, valid UTF-8 or not.
  select h.value into v_value from jsonb_each_text(p_headers) as h where lower(h.key collate "C") = p_name limit 1;
  if v_value is null then
    return null;
  end if;
  return btrim(coalesce(qctl._text(qctl._octets(v_value, 200)), left(v_value, 200)));
exception when others then
  return 'unreadable';
end
$$;
comment on function qctl._header(jsonb, text) is 'A stored header by its lower-case name; servers choose the case.';

create or replace function qctl._retry_after_s(p_headers jsonb, p_now timestamptz) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_text text;
begin
  v_text := qctl._header(p_headers, 'retry-after');
  if v_text ~ '^[0-9]{1,40}$' then
    return least(v_text::numeric, 2147483647)::integer;
  elsif v_text ~ '^[A-Za-z]{3}, [0-9]{2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$' then
    return greatest(0, least(extract(epoch from to_timestamp(substring(v_text from 6 for 20), 'DD Mon YYYY HH24:MI:SS')::timestamp
                                                at time zone interval '0' - p_now), 2147483647))::integer;
  end if;
  return null;
exception when data_exception then
  return null;
end
$$;
comment on function qctl._retry_after_s(jsonb, timestamptz) is
  'Seconds that a stored answer''s Retry-After asks for, in either form of RFC 9110 section 10.2.3; null for anything else.';
