-- Shapes: what an endpoint is sent of an event. The one place where they are made, for captured rows and for operational events.

create or replace function qctl._shapes() returns text[]
language sql immutable parallel safe
return '{qctl,supabase,cloudevents,slack,discord}'::text[];
comment on function qctl._shapes() is 'The formats that an attachment and operational events may have.';

create or replace function qctl._check_shape(p_format text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_format is null or p_format <> all (qctl._shapes()) then
    raise exception '% is not a format', quote_nullable(p_format)
      using errcode = 'QC002', hint = 'use qctl, supabase, cloudevents, slack or discord';
  end if;
end
$$;

create or replace function qctl._is_shaped(p_attachment qctl.attachment) returns boolean
language sql immutable parallel safe
return (p_attachment).body_sql is not null or (p_attachment).payload not in ('qctl', 'supabase');
comment on function qctl._is_shaped(qctl.attachment) is 'Is a message of this attachment anything but the event itself?';

create or replace function qctl._uri_part(p_text text) returns text
language sql immutable parallel safe
-- RFC 3986, section 2.3: all but the unreserved characters are percent-encoded.
return case when p_text ~ '^[A-Za-z0-9._~-]*$' then p_text else (
  select coalesce(string_agg(case when c ~ '^[A-Za-z0-9._~-]$' then c else upper(regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g')) end,
                             '' order by n), '')
  from regexp_split_to_table(p_text, '') with ordinality as u (c, n)) end;

create or replace function qctl._brief(p_value jsonb) returns text
language sql immutable parallel safe
return (select case when length(v.text) > 80 then left(v.text, 77) || '...' else v.text end
  from (select case jsonb_typeof(p_value) when 'null' then 'null' else regexp_replace(p_value #>> '{}', '\s+', ' ', 'g') end as text) v);
comment on function qctl._brief(jsonb) is 'A value in a sentence: one line of at most 80 characters.';

create or replace function qctl._sentence(p_event jsonb) returns text
language sql immutable parallel safe
-- An operational event has a type and data; one of a row has an operation, and of an update what it changed is said.
return case
    when jsonb_typeof(p_event -> 'data') = 'object'
    then concat_ws(': ', 'qctl ' || (p_event ->> 'type'), (
      select string_agg(format('%s %s', d.key, qctl._brief(d.value)), ', ' order by d.key <> 'database', d.key <> 'queue', d.key)
      from jsonb_each(p_event -> 'data') d))
    else concat_ws(': ', format('%s %s.%s', lower(p_event ->> 'operation'), p_event ->> 'schema', p_event ->> 'table'), (
      select string_agg(f.text, ', ' order by f.n) filter (where f.n <= 12) || case when count(*) > 12 then format(', and %s more', count(*) - 12) else '' end
      from (
        select row_number() over (order by e.changed desc, e.n) as n,
               case when e.changed then format('%s %s -> %s', e.key, qctl._brief(e.before), qctl._brief(e.value)) else format('%s %s', e.key, qctl._brief(e.value)) end as text
        from (
          select c.key, c.value, c.n, c.before,
                 p_event ->> 'operation' = 'UPDATE' and c.value is distinct from c.before as changed
          from (
            select r.key, r.value, r.n, p_event -> 'old_record' -> r.key as before
            from jsonb_each(coalesce(nullif(p_event -> 'record', 'null'), nullif(p_event -> 'old_record', 'null'), '{}')) with ordinality as r (key, value, n)
          ) c
        ) e
        where e.value <> 'null' or e.changed
      ) f)) end;
comment on function qctl._sentence(jsonb) is 'An event as one line for people.';

create or replace function qctl._in_slack(p_text text) returns text
language sql immutable parallel safe
-- Slack reads links, mentions and channels between angle brackets: https://docs.slack.dev/messaging/formatting-message-text
return left(replace(replace(replace(p_text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), 3000);

create or replace function qctl._cloud_source(p_event jsonb) returns jsonb
language sql stable
return jsonb_build_object(
    'specversion', '1.0', 'datacontenttype', 'application/json',
    'source', '/' || qctl._uri_part(current_database()) || case when p_event ? 'table' then format('/%s/%s', qctl._uri_part(p_event ->> 'schema'), qctl._uri_part(p_event ->> 'table')) else '' end,
    'type', case when p_event ? 'table' then format('%s.%s.%s', qctl._uri_part(p_event ->> 'schema'), qctl._uri_part(p_event ->> 'table'), lower(p_event ->> 'operation'))
                 else 'qctl.' || (p_event ->> 'type') end);
comment on function qctl._cloud_source(jsonb) is 'What all CloudEvents of one kind share.';

create or replace function qctl._cloud_event(p_event jsonb, p_data jsonb) returns jsonb
language sql volatile
-- CloudEvents 1.0.2; the id is stored with the message, so it is the same in each attempt.
return qctl._cloud_source(p_event) || jsonb_build_object(
    'id', gen_random_uuid(), 'data', p_data,
    'time', coalesce(p_event ->> 'timestamp', to_char(clock_timestamp() at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));

create or replace function qctl._shape(p_format text, p_event jsonb, p_body jsonb) returns jsonb
language sql volatile
return case p_format
    when 'cloudevents' then qctl._cloud_event(p_event, coalesce(p_body, p_event -> 'data', p_event - '{operation,table,schema}'::text[]))
    when 'slack' then case when jsonb_typeof(p_body) = 'object' then p_body
                           else jsonb_build_object('text', coalesce(left(p_body #>> '{}', 40000), qctl._in_slack(qctl._sentence(p_event)))) end
    -- Nobody is mentioned because of a value: https://docs.discord.com/developers/resources/webhook
    when 'discord' then case when jsonb_typeof(p_body) = 'object' then p_body
                             else jsonb_build_object('content', left(coalesce(p_body #>> '{}', qctl._sentence(p_event)), 2000), 'allowed_mentions', '{"parse": []}'::jsonb) end
    else coalesce(p_body, p_event) end;
comment on function qctl._shape(text, jsonb, jsonb) is
  'The message for an event in a format: qctl and supabase are the event itself. p_body: what --body makes of the row, or null; for slack and discord '
  'a text, or the whole message as an object.';

create or replace function qctl._shape_headers(p_format text, p_message jsonb) returns jsonb
language sql immutable parallel safe
-- Structured mode of the HTTP binding, which may carry the attributes as headers too.
return case when p_format = 'cloudevents' then jsonb_build_object(
    'content-type', 'application/cloudevents+json; charset=utf-8', 'ce-specversion', p_message -> 'specversion', 'ce-id', p_message -> 'id',
    'ce-source', p_message -> 'source', 'ce-type', p_message -> 'type', 'ce-time', p_message -> 'time') end;
comment on function qctl._shape_headers(text, jsonb) is 'The headers that a message in this format has, or null.';
