-- Text: makes data from outside safe to store and to show, and derives ids and times from it.

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
  -- The cut may have split the last character, which leaves up to three bytes of it.
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
  'The first bytes of an answer as valid text. Bytes that are not valid UTF-8 are returned in PostgreSQL''s escape format.';

create or replace function qctl._response_text(p_response bytea) returns text
language sql immutable parallel safe
return case when length(p_response) <= 4096 and length(encode(p_response, 'escape')) = length(p_response) then nullif(encode(p_response, 'escape'), '')
            else qctl._text(p_response) end;
comment on function qctl._response_text(bytea) is
  'An answer as the attempt log keeps it; null if there is none. Plain ASCII, the usual case, takes an expression without a function call.';

create or replace function qctl.webhook_id(p_queue_uuid uuid, p_msg_id bigint, p_enqueued_at timestamptz) returns text
language sql immutable parallel safe
return 'msg_' || encode(
  sha256(uuid_send(p_queue_uuid) || int8send(p_msg_id)
         || int8send(case when p_enqueued_at > '4000-01-01 BC' and p_enqueued_at < '200000-01-01'
                          then (extract(epoch from p_enqueued_at at time zone interval '0') * 1000000)::bigint else 0 end)), 'hex');
comment on function qctl.webhook_id(uuid, bigint, timestamptz) is
  'The Standard Webhooks id of an event. It stays the same over retries and '
  'replays and changes when the queue is created again or fails over.';

create or replace function qctl._mark_number(p_headers jsonb, p_key text) returns integer
language sql immutable parallel safe
return case when jsonb_typeof(p_headers #> array['qctl', p_key]) = 'number' and p_headers #>> array['qctl', p_key] ~ '^[0-9]{1,8}$'
            then (p_headers #>> array['qctl', p_key])::integer end;
comment on function qctl._mark_number(jsonb, text) is
  'A number that settle wrote into an archived message''s headers; null if it is not a number, because senders can write there too.';

create or replace function qctl._mark_webhook_id(p_headers jsonb) returns text
language sql immutable parallel safe
return case when p_headers #>> '{qctl,webhook_id}' ~ '^msg_[0-9a-f]{64}$' then p_headers #>> '{qctl,webhook_id}' end;
comment on function qctl._mark_webhook_id(jsonb) is
  'The webhook-id in an archived message''s headers that replaces the derived one; null if there is none or it is not valid.';

create or replace function qctl._octets(p_text text, p_most integer default 4096) returns bytea
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when current_setting('client_encoding') = current_setting('server_encoding')
              then substring(textsend(p_text) from 1 for p_most) end
$$;
comment on function qctl._octets(text, integer) is
  'The first bytes of a text that may not be valid UTF-8, for example an answer kept by pg_net; null if the client encoding differs.';

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
  -- pg_net stores headers as received, so a value may not be valid UTF-8.
  select h.value into v_value from jsonb_each_text(p_headers) as h where lower(h.key collate "C") = p_name limit 1;
  if v_value is null then
    return null;
  end if;
  return btrim(coalesce(qctl._text(qctl._octets(v_value, 200)), left(v_value, 200)));
exception when others then
  return 'unreadable';
end
$$;
comment on function qctl._header(jsonb, text) is
  'The value of a stored header, found by its lower-case name because servers choose the case.';

create or replace function qctl._shown_time(p_at timestamptz) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select to_char(p_at, 'YYYY-MM-DD HH24:MI:SSOF')
$$;
comment on function qctl._shown_time(timestamptz) is 'An instant within a sentence, in the time zone of the session.';
