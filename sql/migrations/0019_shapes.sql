-- What an endpoint is sent: an expression or a format makes the payload. Takes ACCESS EXCLUSIVE on qctl.attachment and
-- qctl.event_route for milliseconds; nothing is rewritten.

alter table qctl.attachment
  add column body_sql text,
  drop constraint attachment_payload_check,
  add constraint attachment_payload_check check (payload in ('qctl', 'supabase', 'cloudevents', 'slack', 'discord'));
comment on column qctl.attachment.payload is 'The format of its messages.';
comment on column qctl.attachment.body_sql is 'The expression over new, old and operation that makes the payload; null: the rows.';

alter table qctl.event_route
  add column format text not null default 'qctl'
    constraint event_route_format_check check (format in ('qctl', 'supabase', 'cloudevents', 'slack', 'discord'));
comment on column qctl.event_route.format is 'The format of operational events.';

drop function if exists qctl.attach(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text);
drop function if exists qctl.set_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text);
drop function if exists qctl.compare_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text);
drop function if exists qctl.attachments(text);
drop function if exists qctl.set_event_route(text, integer);
drop function if exists qctl.event_route();
