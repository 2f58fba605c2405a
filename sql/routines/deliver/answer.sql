-- Answers: what an answer of the endpoint, or a missing answer, means.

create or replace function qctl._is_success(p_status integer) returns boolean
language sql immutable parallel safe
return coalesce(p_status between 200 and 299, false);

create or replace function qctl._is_rejection(p_status integer) returns boolean
language sql immutable parallel safe
return coalesce(p_status in (400, 413, 415, 422), false);
comment on function qctl._is_rejection(integer) is
  'True for statuses that reject the payload and say nothing about the health of the endpoint.';

create or replace function qctl._is_refused(p_status integer, p_error text) returns boolean
language sql immutable parallel safe
return qctl._is_rejection(p_status) or p_status is null and coalesce(p_error ~ '^not accepted: ', false);
comment on function qctl._is_refused(integer, text) is 'True if the endpoint or the broker rejects the payload.';

create or replace function qctl._answer_shows(p_status integer, p_error text) returns text
language sql immutable parallel safe
return case when p_status is null then case when p_error ~ '^(not sent: |the request cannot be made: )' then 'nothing'
                                         when p_error ~ '^(destination missing|unroutable|not accepted|too large): ' then 'alive'
                                         when p_error ~ '^access denied: ' then 'denied' else 'outage' end
            when p_status in (404, 408, 429) or p_status >= 500 or p_error = 'not there yet: n8n is starting' then 'outage'
            when p_status in (401, 403, 407) then 'denied'
            else 'alive' end;
comment on function qctl._answer_shows(integer, text) is
  'What an answer, or the lack of one, shows of the endpoint: alive; outage: the failure is the endpoint''s and not the message''s (n8n '
  'answers 404 while a workflow is inactive); denied: it does not accept the credentials, which is an outage if it accepts none; nothing: '
  'no request was made.';

create or replace function qctl._is_outage(p_status integer, p_error text) returns boolean
language sql immutable parallel safe
return qctl._answer_shows(p_status, p_error) in ('outage', 'denied');
comment on function qctl._is_outage(integer, text) is
  'True if a message that failed with this answer is tried again as soon as the endpoint works.';

create or replace function qctl._is_starting(p_response bytea) returns boolean
language sql immutable parallel safe
return coalesce(p_response = '\x6e386e206973207374617274696e672075702e20506c656173652077616974', false);
comment on function qctl._is_starting(bytea) is
  'True for the answer of a starting n8n. While it migrates its database it answers every POST with 200 and '
  '"n8n is starting up. Please wait" and executes nothing.';

create or replace function qctl._is_expected(p_response bytea, p_text text, p_json jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_text is not null then
    -- Compares bytes because the answer may be cut within a character.
    return position(convert_to(p_text, 'UTF8') in coalesce(p_response, '')) > 0;
  end if;
  return coalesce(convert_from(p_response, 'UTF8')::jsonb @> p_json, false);
exception when data_exception or program_limit_exceeded then
  return false;
end
$$;
comment on function qctl._is_expected(bytea, text, jsonb) is
  'True if the answer contains the text, or is JSON that contains p_json. Only its first 64 KiB are known.';
